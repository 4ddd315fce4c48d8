//! Kafka: Apache's where it can be had, else a broker inside the supervisor. Which one, and why, is always said.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::time::timeout;

use crate::install::{self, JAVA, MAVEN, last_line};
use crate::options::KafkaChoice;
use crate::report::say;
use crate::stack::{Plan, Stack};
use crate::workspace::{Place, digest, engine_cache, keep};

use super::{apache_kafka, embedded_kafka};

/// Keeps the choice under 15 s where Maven Central does not answer.
const PROBE_WITHIN: Duration = Duration::from_secs(10);
/// 46 MB; after that it is kept.
const FETCH_WITHIN: Duration = Duration::from_secs(300);

/// Brokers that are up.
pub struct Kafka {
    pub bootstrap: String,
    /// The embedded one has made them itself.
    pub wants_topics: bool,
    /// The embedded one tells none.
    pub tells_metrics: bool,
}

pub async fn start(stack: &Stack) -> Result<Kafka> {
    match choose(&stack.plan).await? {
        Some(apache) => {
            Ok(Kafka { bootstrap: apache_kafka::start(stack, &apache).await?, wants_topics: true, tells_metrics: true })
        }
        None => Ok(Kafka { bootstrap: embedded_kafka::start(stack).await?, wants_topics: false, tells_metrics: false }),
    }
}

/// A Java and the archives that make an Apache Kafka; none for the embedded broker.
async fn choose(plan: &Plan) -> Result<Option<Apache>> {
    match plan.options.kafka {
        KafkaChoice::Embedded => {
            say("  kafka              embedded, as asked for");
            Ok(None)
        }
        KafkaChoice::Apache => Ok(Some(apache(&plan.place).await?)),
        KafkaChoice::Auto => match apache(&plan.place).await {
            Ok(apache) => Ok(Some(apache)),
            Err(why) => {
                say(&format!("  kafka              embedded (memory only), because {why:#}"));
                Ok(None)
            }
        },
    }
}

pub struct Apache {
    pub java: PathBuf,
    /// A folder of archives.
    pub libs: PathBuf,
}

async fn apache(place: &Place) -> Result<Apache> {
    let apache = if let Some(home) = std::env::var_os("KAFKA_HOME") {
        from_home(PathBuf::from(home)).await?
    } else {
        from_maven(place).await?
    };
    say(&format!("  kafka              Apache Kafka of {}", apache.libs.display()));
    Ok(apache)
}

async fn from_home(home: PathBuf) -> Result<Apache> {
    let libs = home.join("libs");
    if !libs.is_dir() {
        bail!("KAFKA_HOME has no folder {}", libs.display());
    }
    install::all(&[JAVA]).await?;
    Ok(Apache { java: JAVA.path()?, libs })
}

async fn from_maven(place: &Place) -> Result<Apache> {
    let folder = place.root.join("infrastructure/docker/kafka");
    let pom = std::fs::read_to_string(folder.join("pom.xml")).context("infrastructure/docker/kafka/pom.xml")?;
    let libs = engine_cache()?.join(format!("kafka-{:016x}", digest(&pom)));
    if libs.is_dir() {
        install::all(&[JAVA]).await?;
        return Ok(Apache { java: JAVA.path()?, libs });
    }
    install::all(&[JAVA, MAVEN]).await?;
    ensure_maven_resolves().await?;
    fetch(&folder, &libs).await?;
    Ok(Apache { java: JAVA.path()?, libs })
}

/// Maven itself is asked, so that its mirrors and proxies count. A parent is all that a project without plugins
/// resolves: one small file, fetched into a repository of its own so that nothing answers from the cache.
const PROBE: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <parent><groupId>org.apache</groupId><artifactId>apache</artifactId><version>33</version><relativePath/></parent>
  <artifactId>probe</artifactId>
  <packaging>pom</packaging>
</project>
"#;

async fn ensure_maven_resolves() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("bigtech-chat-maven-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("pom.xml"), PROBE)?;
    let asked = Command::new(MAVEN.path()?)
        .args(["-B", "-q", "validate"])
        .arg(format!("-Dmaven.repo.local={}", folder.join("repository").display()))
        .current_dir(&folder)
        .kill_on_drop(true)
        .output();
    let answer = timeout(PROBE_WITHIN, asked).await;
    let _ = std::fs::remove_dir_all(&folder);
    match answer {
        Ok(output) if output.as_ref().is_ok_and(|output| output.status.success()) => Ok(()),
        Ok(output) => bail!("Maven Central cannot be reached ({})", first_error(&output?.stdout)),
        Err(_) => bail!("Maven Central did not answer within {} s", PROBE_WITHIN.as_secs()),
    }
}

/// The reason in what Maven says, without the story around it.
fn first_error(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let Some(start) = text.find("Could not transfer artifact") else { return last_line(output) };
    let reason = text[start..].lines().next().unwrap_or_default();
    // What follows is about the file that Maven was asked with.
    reason.split(" and 'parent").next().unwrap_or(reason).to_owned()
}

async fn fetch(folder: &std::path::Path, libs: &std::path::Path) -> Result<()> {
    say("  kafka              fetching Apache Kafka with Maven (46 MB)");
    keep(libs, async |draft| copy(folder, draft).await).await
}

async fn copy(folder: &std::path::Path, draft: &std::path::Path) -> Result<()> {
    let copying = Command::new(MAVEN.path()?)
        .args(["-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", draft.display()))
        .current_dir(folder)
        .kill_on_drop(true)
        .output();
    let output = timeout(FETCH_WITHIN, copying).await.context("Maven took too long to fetch Apache Kafka")??;
    if !output.status.success() {
        bail!("Maven cannot fetch Apache Kafka ({})", first_error(&output.stdout));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_that_maven_says_the_reason_is_kept() {
        let said = "[ERROR] x\n[FATAL] Non-resolvable parent POM for org.apache:probe:33: Could not transfer artifact \
                    org.apache:apache:pom:33 from/to central: Connection refused and 'parent.relativePath' points at no POM\n";
        assert_eq!(
            first_error(said.as_bytes()),
            "Could not transfer artifact org.apache:apache:pom:33 from/to central: Connection refused"
        );
        assert_eq!(first_error(b"[ERROR] something else\n"), "[ERROR] something else");
    }
}
