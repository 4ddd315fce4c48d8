//! The options of the commands.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, bail};
use axum::http::HeaderValue;
use clap::{Args, ValueEnum};

use crate::service::Service;

#[derive(Args, Clone)]
pub struct UpOptions {
    /// Build the services with optimizations.
    #[arg(long)]
    pub release: bool,

    /// The broker; `auto` takes Apache Kafka if it is installed or can be fetched.
    #[arg(long, value_enum, default_value_t)]
    pub kafka: KafkaChoice,

    /// Number of Kafka brokers.
    #[arg(long, default_value_t = 1, value_parser = one_or_three)]
    pub brokers: usize,

    /// Members of MongoDB's replica set: 1, or 3 that elect another primary when theirs ends or steps down.
    #[arg(long, default_value_t = 1, value_parser = one_or_three)]
    pub mongo: usize,

    /// Replicas per service, such as `chat=3,user=2`; one each by default.
    #[arg(long, default_value = "")]
    pub replicas: Replicas,

    /// Whether the gateway applies the rate limits of kong.yml, and the services their budgets of writes. They are meant for
    /// production.
    #[arg(long, value_enum, default_value_t)]
    pub rate_limit: Switch,

    /// Port of the gateway.
    #[arg(long, default_value_t = 8000)]
    pub gateway_port: u16,

    /// `contract`: 8005, 8003 and 8002. `free`: free ports for the services and the gateway.
    #[arg(long, value_enum, default_value_t)]
    pub service_ports: ServicePorts,

    /// `free`: free ports. `default`: 3306, 27017, 6379, 9000 and 19092, and those that follow for more members and brokers.
    #[arg(long, value_enum, default_value_t)]
    pub engine_ports: EnginePorts,

    /// Delete the data of earlier runs first.
    #[arg(long)]
    pub fresh: bool,

    /// Start only these components.
    #[arg(long, value_enum)]
    pub only: Option<Component>,

    /// Start Prometheus and Alertmanager with the rules of production, and exporters for the engines.
    #[arg(long, conflicts_with = "only")]
    pub observe: bool,

    /// Whether links to the engines can be slow, and the disks of the engines full: for `cargo stack test --drill`.
    #[arg(skip)]
    pub breakable: bool,

    /// The revision whose services the stack starts with, for `cargo stack test --drill`.
    #[arg(skip)]
    pub previous: Option<String>,
}

#[derive(Args, Clone)]
pub struct TestOptions {
    /// The broker; `auto` takes Apache Kafka if it is installed or can be fetched.
    #[arg(long, value_enum, default_value_t)]
    pub kafka: KafkaChoice,

    /// Number of Kafka brokers; 1 by default, and 3 with --faults and --drill.
    #[arg(long, value_parser = one_or_three)]
    pub brokers: Option<usize>,

    /// Members of MongoDB's replica set: 1 or 3.
    #[arg(long, default_value_t = 1, value_parser = one_or_three)]
    pub mongo: usize,

    /// Replicas per service, such as `chat=3`; one each by default, `friend=2,chat=2` with --faults, and two each with --drill.
    #[arg(long)]
    pub replicas: Option<Replicas>,

    /// Run only the fault tests, which stop and kill processes that other tests need.
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "small")]
    pub faults: Option<Faults>,

    /// Run only the drill: rolling restarts, and faults of every engine, its disk and its network, alone and in pairs.
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "small", conflicts_with = "faults")]
    pub drill: Option<Faults>,

    /// Begin the drill with the services of this revision, upgrade them under load, go back and upgrade them again.
    #[arg(long, requires = "drill")]
    pub previous: Option<String>,

    /// Run only the tests of dashboards and alerts, which need Prometheus and take a service down.
    #[arg(long, conflicts_with_all = ["faults", "drill"])]
    pub observe: bool,

    /// Run only the requests that schemathesis generates. `.ci/check-hostile-input` installs it and gives this option.
    #[arg(long, conflicts_with_all = ["faults", "drill", "observe"])]
    pub hostile: bool,
}

impl TestOptions {
    /// The tests that run alone, if the options name some.
    pub fn exclusive(&self) -> Option<Exclusive> {
        let (program, filter): (_, &[_]) = match self {
            Self { faults: Some(_), .. } => ("faults", &["--skip=drill::"]),
            Self { drill: Some(_), .. } => ("faults", &["drill::"]),
            Self { observe: true, .. } => ("observe", &[]),
            Self { hostile: true, .. } => ("hostile", &[]),
            _ => return None,
        };
        Some(Exclusive { program, filter })
    }

    /// How long and how often the tests disturb the stack.
    pub fn size(&self) -> Option<Faults> {
        self.faults.or(self.drill)
    }

    /// Brokers and replicas: those of the command line, or else as many as the tests need.
    fn sizes(&self) -> (usize, Replicas) {
        let (brokers, replicas) = match self {
            Self { faults: Some(_), .. } => (3, FAULT_TEST_REPLICAS),
            Self { drill: Some(_), .. } => (3, TWO_EACH),
            _ => (1, ONE_EACH),
        };
        (self.brokers.unwrap_or(brokers), self.replicas.unwrap_or(replicas))
    }
}

impl From<TestOptions> for UpOptions {
    fn from(test: TestOptions) -> Self {
        let (brokers, replicas) = test.sizes();
        Self {
            release: false,
            kafka: test.kafka,
            brokers,
            mongo: test.mongo,
            replicas,
            rate_limit: Switch::Off,
            gateway_port: 0,
            service_ports: ServicePorts::Free,
            engine_ports: EnginePorts::Free,
            fresh: true,
            only: None,
            observe: test.observe,
            breakable: test.drill.is_some(),
            previous: test.previous,
        }
    }
}

#[derive(Args)]
pub struct BackupOptions {
    /// The folder of the backups. A backup is a folder in it, named by its time.
    pub folder: PathBuf,

    /// Delete all backups in the folder but the newest ones, when the new one is complete.
    #[arg(long)]
    pub keep: Option<NonZeroUsize>,

    /// Encrypt the backup with the passphrase in this file, such as the output of `openssl rand -hex 32`.
    #[arg(long)]
    pub passphrase_file: Option<PathBuf>,

    /// Of the stack of `cargo stack test`.
    #[arg(long, hide = true)]
    pub test_stack: bool,
}

#[derive(Args)]
pub struct RestoreOptions {
    /// The folder of one backup.
    pub backup: PathBuf,

    /// Replace all data of the stack.
    #[arg(long)]
    pub yes: bool,

    /// The file with the passphrase of an encrypted backup.
    #[arg(long)]
    pub passphrase_file: Option<PathBuf>,

    /// Of the stack of `cargo stack test`.
    #[arg(long, hide = true)]
    pub test_stack: bool,
}

#[derive(Args)]
pub struct GatewayOptions {
    #[arg(long)]
    pub port: u16,
    #[arg(long)]
    pub config: PathBuf,
    #[arg(long)]
    pub rate_limit: bool,
    /// The replicas of a host in kong.yml: `user-service=http://127.0.0.1:8005,http://…`.
    #[arg(long, value_parser = upstream)]
    pub upstream: Vec<(String, Vec<String>)>,
}

#[derive(Args)]
pub struct LinkOptions {
    #[arg(long)]
    pub port: u16,
    /// The port of the server, or the ports of its replicas.
    #[arg(long, value_delimiter = ',')]
    pub to: Vec<u16>,
}

#[derive(Args)]
pub struct ObjectStoreOptions {
    #[arg(long)]
    pub port: u16,
    /// The folder of the buckets.
    #[arg(long)]
    pub folder: PathBuf,
    /// The origins of the pages that may use the store.
    #[arg(long)]
    pub origin: Vec<HeaderValue>,
}

#[derive(Args)]
pub struct WebOptions {
    #[arg(long)]
    pub port: u16,
    #[arg(long)]
    pub folder: PathBuf,
    /// The folder with the client's modules, served at `/sdk`.
    #[arg(long)]
    pub sdk: PathBuf,
    /// The origin of the object store.
    #[arg(long)]
    pub file_store: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum KafkaChoice {
    #[default]
    Auto,
    Apache,
    Embedded,
}

/// Tests of one program that must not run beside others, and the arguments of the program that select them.
#[derive(Clone, Copy)]
pub struct Exclusive {
    pub program: &'static str,
    pub filter: &'static [&'static str],
}

/// How long and how often the fault tests disturb the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Faults {
    Small,
    Full,
}

impl Faults {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Full => "full",
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    #[default]
    Off,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ServicePorts {
    #[default]
    Contract,
    Free,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum EnginePorts {
    #[default]
    Free,
    Default,
}

/// A set of processes that can run without the others.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Component {
    Engines,
}

/// The number of replicas of each service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    user: usize,
    friend: usize,
    chat: usize,
}

const ONE_EACH: Replicas = Replicas { user: 1, friend: 1, chat: 1 };

/// Two replicas: a stream is read from a replica that did not write the message, and another consumer takes over the
/// partitions of a killed one.
const FAULT_TEST_REPLICAS: Replicas = Replicas { user: 1, friend: 2, chat: 2 };

/// A rolling restart replaces one replica while the other serves.
const TWO_EACH: Replicas = Replicas { user: 2, friend: 2, chat: 2 };

/// Enough for every experiment on one machine.
const MAX_REPLICAS: usize = 9;

impl Replicas {
    pub fn of(self, service: Service) -> usize {
        match service {
            Service::User => self.user,
            Service::Friend => self.friend,
            Service::Chat => self.chat,
        }
    }
}

impl FromStr for Replicas {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut replicas = ONE_EACH;
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (service, count) = pair.split_once('=').context("the format is chat=3,user=2")?;
            let count: usize = count.parse().with_context(|| format!("`{count}` is not a number"))?;
            if !(1..=MAX_REPLICAS).contains(&count) {
                bail!("a service has 1 to {MAX_REPLICAS} replicas, not {count}");
            }
            match service {
                "user" => replicas.user = count,
                "friend" => replicas.friend = count,
                "chat" => replicas.chat = count,
                other => bail!("`{other}` is not one of user, friend, chat"),
            }
        }
        Ok(replicas)
    }
}

fn one_or_three(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("1 or 3".into()),
    }
}

fn upstream(text: &str) -> anyhow::Result<(String, Vec<String>)> {
    let (host, urls) = text.split_once('=').context("the format is host=url,url")?;
    Ok((host.into(), urls.split(',').map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct TestCommand {
        #[command(flatten)]
        options: TestOptions,
    }

    #[test]
    fn a_service_that_is_not_named_has_one_replica() {
        let replicas: Replicas = "chat=3".parse().unwrap();
        assert_eq!(replicas, Replicas { user: 1, friend: 1, chat: 3 });
    }

    #[test]
    fn replicas_of_an_unknown_service_or_in_a_wrong_number_are_rejected() {
        for text in ["chats=3", "chat=0", "chat=10", "chat", "chat=x"] {
            assert!(text.parse::<Replicas>().is_err(), "{text}");
        }
    }

    #[test]
    fn mongodb_has_one_member_unless_the_options_name_three() {
        let members = |line: &[&str]| {
            let command = TestCommand::try_parse_from([&["test"], line].concat()).ok()?;
            Some(UpOptions::from(command.options).mongo)
        };
        assert_eq!(members(&[]), Some(1));
        assert_eq!(members(&["--mongo", "3"]), Some(3));
        assert_eq!(members(&["--mongo", "2"]), None, "two members cannot elect a primary without each other");
    }

    #[test]
    fn fault_tests_get_the_stack_they_need_unless_the_options_name_another() {
        let sizes = |line: &[&str]| TestCommand::parse_from([&["test"], line].concat()).options.sizes();
        assert_eq!(sizes(&[]), (1, ONE_EACH));
        assert_eq!(sizes(&["--faults"]), (3, FAULT_TEST_REPLICAS));
        assert_eq!(sizes(&["--drill"]), (3, TWO_EACH));
        assert_eq!(sizes(&["--faults=full", "--brokers", "1", "--replicas", ""]), (1, ONE_EACH));
    }
}
