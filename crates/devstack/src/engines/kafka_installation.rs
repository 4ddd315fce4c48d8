//! Finds an installation of Apache Kafka, or fetches one with Maven.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, interval_at};

use super::maven::Repository;
use crate::cache::{create_atomically, digest, engine_cache};
use crate::install::{self, JAVA, MAVEN, last_line};
use crate::stack_dir::StackDir;
use crate::terminal::print_about;

const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Maven may take as long as it needs, unless it prints nothing for this time: far more than one file takes.
const STALL_TIMEOUT: Duration = Duration::from_secs(300);

pub struct KafkaInstallation {
    pub java: PathBuf,
    /// The folder of Kafka's archives.
    pub libs: PathBuf,
}

impl KafkaInstallation {
    /// The installation in `KAFKA_HOME`, or the one in the cache, which Maven fills if it is empty.
    pub async fn find_or_fetch(dir: &StackDir) -> Result<Self> {
        let libs = match env::var_os("KAFKA_HOME") {
            Some(home) => PathBuf::from(home).join("libs"),
            None => cached(dir).await?,
        };
        if !libs.is_dir() {
            bail!("KAFKA_HOME has no folder {}", libs.display());
        }
        install::ensure(&[JAVA]).await?;
        Ok(Self { java: JAVA.path()?, libs })
    }
}

async fn cached(dir: &StackDir) -> Result<PathBuf> {
    let project = dir.root.join("infrastructure/docker/kafka");
    let pom = std::fs::read(project.join("pom.xml")).context("infrastructure/docker/kafka/pom.xml")?;
    let libs = engine_cache()?.join(format!("kafka-{:016x}", digest(&pom)));
    if !libs.is_dir() {
        install::ensure(&[JAVA, MAVEN]).await?;
        Repository::configured(&MAVEN.path()?)?.ensure_reachable().await?;
        create_atomically(&libs, async |draft| fetch(&project, draft).await).await?;
    }
    Ok(libs)
}

async fn fetch(project: &Path, draft: &Path) -> Result<()> {
    let started = Instant::now();
    print_about("kafka", "fetching Apache Kafka with Maven (46 MB)");
    let mut maven = Command::new(MAVEN.path()?)
        .args(["-B", "dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", draft.display()))
        .current_dir(project)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start Maven")?;
    let mut lines = BufReader::new(maven.stdout.take().context("Maven has no output")?).lines();
    let mut ticks = interval_at(started + PROGRESS_EVERY, PROGRESS_EVERY);
    let (mut last_output, mut file, mut error) = (started, None, None);
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Some(line) = line? else { break };
                last_output = Instant::now();
                file = downloading(&line).map(str::to_owned).or(file);
                error = error.or_else(|| reason(&line));
            }
            _ = ticks.tick() => {
                if last_output.elapsed() > STALL_TIMEOUT {
                    bail!("Maven printed nothing for {} s", STALL_TIMEOUT.as_secs());
                }
                let file = file.as_deref().unwrap_or("Apache Kafka");
                print_about("kafka", &format!("Maven is fetching {file} ({} s)", started.elapsed().as_secs()));
            }
        }
    }
    let output = maven.wait_with_output().await?;
    if !output.status.success() {
        bail!("Maven cannot fetch Apache Kafka ({})", error.unwrap_or_else(|| last_line(&output.stderr)));
    }
    Ok(())
}

/// The file name in a line such as `[INFO] Downloading from central: https://…/kafka-clients-4.3.1.jar`.
fn downloading(line: &str) -> Option<&str> {
    line.split_once("Downloading from ")?.1.rsplit('/').next()
}

/// The reason in the first line of an error. The rest of the line is about the project.
fn reason(line: &str) -> Option<String> {
    let error = line.strip_prefix("[ERROR] ").or_else(|| line.strip_prefix("[FATAL] "))?;
    let start = error.find("Could not transfer artifact").unwrap_or(0);
    Some(error[start..].split(" -> [Help").next()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_an_error_is_kept_without_its_frame() {
        let line = "[ERROR] Plugin x or one of its dependencies could not be resolved: Could not transfer artifact \
                    x:pom:1 from/to central: Connection refused -> [Help 1]";
        assert_eq!(reason(line).unwrap(), "Could not transfer artifact x:pom:1 from/to central: Connection refused");
        assert_eq!(reason("[ERROR] another error").unwrap(), "another error");
        assert_eq!(reason("[INFO] BUILD FAILURE"), None);
    }

    #[test]
    fn a_download_is_named_by_its_file() {
        let line = "[INFO] Downloading from central: https://repository.example/org/kafka-clients-4.3.1.jar";
        assert_eq!(downloading(line), Some("kafka-clients-4.3.1.jar"));
        assert_eq!(downloading("[INFO] BUILD SUCCESS"), None);
    }
}
