//! What can be said on the command line.

use std::str::FromStr;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::gateway::GatewayOptions;
use crate::services::Service;
use crate::web::WebOptions;

/// BigTech Chat on one machine: real engines, the three services and the gateway.
#[derive(Parser)]
#[command(name = "cargo stack", bin_name = "cargo stack", disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Start everything; Ctrl-C stops it.
    Up {
        /// Return when everything is ready and leave it running.
        #[arg(long)]
        detach: bool,
        #[command(flatten)]
        options: UpOptions,
    },
    /// Show what runs.
    Status {
        #[arg(long)]
        json: bool,
    },
    /// Print `export` lines by which any tool attaches: eval "$(cargo stack env)".
    Env,
    /// Show the log of one process, or the last lines of all.
    Logs {
        name: Option<String>,
        /// Go on as the log grows.
        #[arg(short, long)]
        follow: bool,
    },
    /// Stop everything.
    Down {
        /// Delete all data and logs too.
        #[arg(long)]
        wipe: bool,
    },
    /// Stop one process; it stays down.
    Stop { name: String },
    /// Start a stopped process.
    Start { name: String },
    /// Stop and start one process.
    Restart { name: String },
    /// SIGKILL one process; it is started again.
    Kill { name: String },
    /// Play the main story against the running stack, step by step.
    Demo,
    /// Run every test of the workspace against a stack of its own.
    Test {
        #[command(flatten)]
        options: TestOptions,
        /// Passed on to `cargo test`, which tests the whole workspace unless they name a package.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    #[command(hide = true)]
    Supervise(UpOptions),
    #[command(hide = true)]
    Gateway(GatewayOptions),
    #[command(hide = true)]
    Web(WebOptions),
}

#[derive(Args, Clone)]
pub struct UpOptions {
    /// Build and run the services optimized.
    #[arg(long)]
    pub release: bool,

    /// Where Kafka comes from: `auto` takes Apache Kafka where Java and Maven Central can be had.
    #[arg(long, value_enum, default_value_t)]
    pub kafka: KafkaChoice,

    /// Number of Kafka brokers.
    #[arg(long, default_value_t = 1, value_parser = brokers)]
    pub brokers: usize,

    /// Replicas per service, such as `chat=3,user=2`; one each by default.
    #[arg(long, default_value = "")]
    pub replicas: Replicas,

    /// Whether the gateway applies the rate limits of kong.yml, which are meant for production.
    #[arg(long, value_enum, default_value_t)]
    pub rate_limit: Switch,

    /// Port of the gateway.
    #[arg(long, default_value_t = 8000)]
    pub gateway_port: u16,

    /// `contract`: 8005, 8003, 8002. `free`: the services and the gateway take ports of their own choosing.
    #[arg(long, value_enum, default_value_t)]
    pub service_ports: ServicePorts,

    /// `free`: ports of their own choosing. `default`: 3306, 27017, 6379, 19092 and following.
    #[arg(long, value_enum, default_value_t)]
    pub engine_ports: EnginePorts,

    /// Delete the data of earlier runs first.
    #[arg(long)]
    pub fresh: bool,

    /// Start a part only.
    #[arg(long, value_enum)]
    pub only: Option<Part>,

    /// Prometheus and Alertmanager with the rules of production, and exporters for the engines.
    #[arg(long, conflicts_with = "only")]
    pub observe: bool,
}

#[derive(Args, Clone)]
pub struct TestOptions {
    /// Where Kafka comes from.
    #[arg(long, value_enum, default_value_t)]
    pub kafka: KafkaChoice,

    /// Number of Kafka brokers; 1, and 3 for faults.
    #[arg(long, value_parser = brokers)]
    pub brokers: Option<usize>,

    /// Replicas per service, such as `chat=3`; one each, and for faults what they need.
    #[arg(long)]
    pub replicas: Option<Replicas>,

    /// Run the fault tests, and no others: they stop and kill what the others need.
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "small")]
    pub faults: Option<Faults>,

    /// Run the tests of boards and alerts, and no others: they need Prometheus, and take a service down.
    #[arg(long, conflicts_with = "faults")]
    pub observe: bool,
}

impl TestOptions {
    /// The test program that runs without the others, if one does.
    pub fn alone(&self) -> Option<&'static str> {
        match (self.faults, self.observe) {
            (Some(_), _) => Some("faults"),
            (None, true) => Some("observe"),
            (None, false) => None,
        }
    }

    /// What is not said is what the tests need.
    fn sizes(&self) -> (usize, Replicas) {
        let (brokers, replicas) = match self.faults {
            Some(_) => (3, FOR_FAULTS),
            None => (1, ONE_EACH),
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
            replicas,
            rate_limit: Switch::Off,
            gateway_port: 0,
            service_ports: ServicePorts::Free,
            engine_ports: EnginePorts::Free,
            fresh: true,
            only: None,
            observe: test.observe,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum KafkaChoice {
    #[default]
    Auto,
    Apache,
    Embedded,
}

/// How long and how often faults are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Faults {
    Small,
    Full,
}

impl Faults {
    pub fn word(self) -> &'static str {
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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    Engines,
}

/// How many of each service run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    user: usize,
    friend: usize,
    chat: usize,
}

const ONE_EACH: Replicas = Replicas { user: 1, friend: 1, chat: 1 };

/// A stream is read where its message was not written, and a projection has an heir.
const FOR_FAULTS: Replicas = Replicas { user: 1, friend: 2, chat: 2 };

/// More of one service on one machine shows nothing that nine do not.
const MOST_REPLICAS: usize = 9;

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
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (service, count) = part.split_once('=').context("write it as chat=3,user=2")?;
            let count: usize = count.parse().with_context(|| format!("`{count}` is no number"))?;
            if !(1..=MOST_REPLICAS).contains(&count) {
                bail!("between 1 and {MOST_REPLICAS} replicas, not {count}");
            }
            match service {
                "user" => replicas.user = count,
                "friend" => replicas.friend = count,
                "chat" => replicas.chat = count,
                other => bail!("`{other}` is none of user, friend, chat"),
            }
        }
        Ok(replicas)
    }
}

fn brokers(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("1 or 3".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_not_named_run_once() {
        let replicas: Replicas = "chat=3".parse().unwrap();
        assert_eq!(replicas, Replicas { user: 1, friend: 1, chat: 3 });
    }

    #[test]
    fn replicas_of_an_unknown_service_or_of_none_are_refused() {
        for text in ["chats=3", "chat=0", "chat=10", "chat", "chat=x"] {
            assert!(text.parse::<Replicas>().is_err(), "{text}");
        }
    }

    #[test]
    fn faults_have_the_stack_that_they_need_unless_another_is_said() {
        let sizes = |line: &[&str]| match Cli::parse_from([&["stack", "test"], line].concat()).command {
            Command::Test { options, .. } => options.sizes(),
            _ => panic!("no test command"),
        };
        assert_eq!(sizes(&[]), (1, ONE_EACH));
        assert_eq!(sizes(&["--faults"]), (3, FOR_FAULTS));
        assert_eq!(sizes(&["--faults=full", "--brokers", "1", "--replicas", ""]), (1, ONE_EACH));
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
