//! What is said on the terminal.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

use crate::control;
use crate::options::{Switch, UpOptions};
use crate::state::{Entry, StateFile};
use crate::workspace::Place;

/// How much of each log `cargo stack logs` shows when none is named.
const LAST_LINES: usize = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Says one line. A terminal that is gone is no reason to stop.
pub fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Text as another program wrote it.
pub fn pass_on(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

pub fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "error: {line}");
}

/// A step that is done, and how long it took.
pub fn step(name: &str, what: &str, since: Instant) {
    say(&format!("  {name:<18} {what} ({:.1} s)", since.elapsed().as_secs_f32()));
}

pub async fn status(place: &Place, json: bool) -> Result<ExitCode> {
    let entries = control::entries(place).await;
    if json {
        say(&serde_json::to_string_pretty(&entries)?);
        return Ok(ExitCode::SUCCESS);
    }
    if entries.is_empty() {
        say("Nothing runs here. Start it: cargo stack up");
    } else {
        say(&format!("{:<18} {:>8} {:>6}  {:<9} LOG", "NAME", "PID", "PORT", "STATE"));
        entries.iter().for_each(|entry| say(&line(entry)));
    }
    Ok(ExitCode::SUCCESS)
}

fn line(entry: &Entry) -> String {
    let pid = entry.pid.map_or_else(|| "-".into(), |pid| pid.to_string());
    format!("{:<18} {pid:>8} {:>6}  {:<9} {}", entry.name, entry.port, entry.state.word(), entry.log.display())
}

pub fn env(place: &Place) -> Result<()> {
    let state = running(place)?;
    for (name, value) in &state.env {
        say(&format!("export {name}='{}'", value.replace('\'', r"'\''")));
    }
    Ok(())
}

/// What runs here, or why not.
pub fn running(place: &Place) -> Result<StateFile> {
    match StateFile::read(place) {
        Some(state) if state.is_supervised() && state.ready => Ok(state),
        Some(state) if state.is_supervised() => bail!("the stack is still starting (cargo stack status)"),
        _ => bail!("nothing runs here; start it: cargo stack up"),
    }
}

pub async fn logs(place: &Place, name: Option<&str>, follow: bool) -> Result<()> {
    let Some(name) = name else { return all_logs(place) };
    let path = place.log(name);
    let mut log = File::open(&path).with_context(|| format!("no log {}", path.display()))?;
    loop {
        pass_on(&grown(&mut log)?);
        if !follow {
            return Ok(());
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn all_logs(place: &Place) -> Result<()> {
    let folder = place.log("x");
    let folder = folder.parent().context("no folder for logs")?;
    let mut paths: Vec<_> = fs::read_dir(folder).context("no logs yet")?.flatten().map(|file| file.path()).collect();
    paths.sort();
    for path in paths {
        say(&format!("== {}", path.display()));
        last_lines(&path, LAST_LINES).iter().for_each(|line| say(line));
    }
    Ok(())
}

fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

/// What a log has grown by since it was last read.
pub fn grown(log: &mut File) -> Result<String> {
    let (position, end) = (log.stream_position()?, log.metadata()?.len());
    if end < position {
        log.seek(SeekFrom::Start(0))?;
    }
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The table at the end of a start, and a first conversation.
pub fn welcome(entries: &[Entry], env: &BTreeMap<String, String>, options: &UpOptions) {
    say("");
    for entry in entries {
        say(&format!("  {:<18} 127.0.0.1:{:<6} {}", entry.name, entry.port, entry.log.display()));
    }
    say("");
    if let Some(gateway) = env.get("GATEWAY_URL") {
        services(env, gateway, options.rate_limit == Switch::On);
        conversation(gateway);
    }
    say("Attach a tool: eval \"$(cargo stack env)\"    Look: cargo stack status | logs NAME");
}

fn services(env: &BTreeMap<String, String>, gateway: &str, rate_limited: bool) {
    let url = |name: &str| env.get(name).cloned().unwrap_or_default();
    say(&format!("  Chat               {gateway}/"));
    say(&format!("  API                {gateway}/api/…"));
    say(&format!("  User service       {}/docs", url("USER_URL")));
    say(&format!("  Friend service     {}/docs", url("FRIEND_URL")));
    say(&format!("  Chat service       {}/docs", url("CHAT_URL")));
    if let Some(prometheus) = env.get("PROMETHEUS_URL") {
        say(&format!("  Prometheus         {prometheus}/alerts"));
        say(&format!("  Alertmanager       {}", url("ALERTMANAGER_URL")));
    }
    let limits = if rate_limited {
        "on, as in kong.yml"
    } else {
        "off here; those of kong.yml are for production (--rate-limit on)"
    };
    say(&format!("  Rate limits        {limits}"));
    say("");
}

fn conversation(gateway: &str) {
    say("A first conversation (or all of it at once: cargo stack demo):");
    say("");
    say(&format!(
        r#"  curl -X POST {gateway}/api/auth/register -H 'Content-Type: application/json' \
    -d '{{"email":"ann@example.com","username":"ann","password":"Passw0rd!"}}'
  TOKEN=$(curl -s -X POST {gateway}/api/auth/login/json -H 'Content-Type: application/json' \
    -d '{{"email":"ann@example.com","password":"Passw0rd!"}}' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl {gateway}/api/profile/me -H "Authorization: Bearer $TOKEN""#
    ));
    say("");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_from_where_it_was_left() {
        let path = std::env::temp_dir().join("devstack-test-grown.log");
        fs::write(&path, "one\n").unwrap();
        let mut log = File::open(&path).unwrap();
        assert_eq!(grown(&mut log).unwrap(), "one\n");

        fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(grown(&mut log).unwrap(), "two\n");

        fs::write(&path, "new\n").unwrap();
        assert_eq!(grown(&mut log).unwrap(), "new\n");
    }
}
