//! The processes and the environment of the running stack: `cargo stack status` and `cargo stack env`.

use anyhow::Result;

use crate::control;
use crate::stack_dir::StackDir;
use crate::state::{ProcessStatus, StateFile};
use crate::terminal::print;

pub async fn print_status(dir: &StackDir, json: bool) -> Result<()> {
    let processes = control::processes(dir).await;
    if json {
        print(&serde_json::to_string_pretty(&processes)?);
    } else if processes.is_empty() {
        print("No stack is running. Start it: cargo stack up");
    } else {
        print(&format!("{:<18} {:>8} {:>6}  {:<9} LOG", "NAME", "PID", "PORT", "STATE"));
        processes.iter().for_each(|process| print(&line(process)));
    }
    Ok(())
}

fn line(process: &ProcessStatus) -> String {
    let ProcessStatus { name, port, log, .. } = process;
    let pid = process.pid.map_or_else(|| "-".into(), |pid| pid.to_string());
    format!("{name:<18} {pid:>8} {port:>6}  {:<9} {}", process.state.as_str(), log.display())
}

pub fn print_env(dir: &StackDir) -> Result<()> {
    for (name, value) in &StateFile::read_ready(dir)?.env {
        print(&format!("export {name}='{}'", value.replace('\'', r"'\''")));
    }
    Ok(())
}
