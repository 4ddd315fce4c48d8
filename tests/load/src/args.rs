//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::act::Act;
use crate::dimension::Dimension;
use crate::listener::StreamKind;
use crate::system::ProcessChoice;
use crate::target::{ServiceUrl, Target};

/// Measures a running system with accounts of its own, which it creates through the public API.
///
/// Without --url and --gateway, it measures the running stack (cargo stack up --release --detach). Figures depend on the
/// machine: compare those of one machine in the same hour only.
#[derive(Parser)]
#[command(name = "cargo stack bench", bin_name = "cargo stack bench")]
pub struct Args {
    /// A scenario; repeat the option for several. By default health, profile, search, friends, send, list50, rooms, login and
    /// story, which take less than three minutes together.
    #[arg(long = "scenario", value_enum, value_name = "NAME")]
    scenarios: Vec<Scenario>,

    /// Clients that send requests at the same time. With --rate, the most requests in flight.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,

    /// Seconds of each measurement, without its preparation.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,

    /// Measure each scenario so many times, in turn with the others. The tables and plots are those of the median, with the lowest
    /// and the highest value.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub runs: u32,

    /// Start so many acts a second, whether the system keeps up or not. Latency counts from the time at which an act should
    /// have started. Without it, each client starts its next act when the last one has ended.
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,

    /// Acts a second at which the scenario `cpu` measures.
    #[arg(long, value_parser = rate, value_delimiter = ',', default_value = "1,30,300", value_name = "RATE,…")]
    pub rates: Vec<f64>,

    /// An act of the scenario `cpu`; repeat the option for several. By default send, change-profile, rooms, list50, search, friends
    /// and profile.
    #[arg(long = "act", value_enum, value_name = "ACT")]
    acts: Vec<Act>,

    /// Pairs of accounts with a direct room, among which requests are spread: 1 by default, and 10 with mixed and soak.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pairs: Option<u32>,

    /// Streams that the scenarios `streams` and `reconnect` open.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub streams: u32,

    /// Streams that the scenario `reconnect` cuts: all by default.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    cut: Option<u32>,

    /// Open streams of all rooms of a person instead of one room.
    #[arg(long)]
    all_rooms: bool,

    /// Rooms of each person with --all-rooms.
    #[arg(long, default_value_t = 1, requires = "all_rooms", value_parser = clap::value_parser!(u32).range(1..=500))]
    rooms: u32,

    /// The data that grow in the scenario `growth`: messages of a room, rooms of a person, accounts, open streams. All by default.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "DIMENSION,…")]
    growth: Vec<Dimension>,

    /// The largest size of the scenario `growth`. By default a million messages and accounts, 5,000 rooms and 15,000 streams.
    #[arg(long, value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    pub to: Option<u64>,

    /// The most accounts that one run registers.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    pub accounts: u32,

    /// The base URL of a service, such as user=http://127.0.0.1:8005; all three are needed: user, friend and chat. Of several
    /// replicas, repeat the option: clients ask them in turn.
    #[arg(long = "url", value_name = "SERVICE=URL", conflicts_with = "gateway")]
    pub urls: Vec<ServiceUrl>,

    /// Measure through a gateway, which has the API below /api; through that of the running stack if no URL is given.
    #[arg(long, value_name = "URL")]
    pub gateway: Option<Option<String>>,

    /// Allow addresses of other machines. The benchmark creates accounts and messages there, which nothing removes.
    #[arg(long)]
    pub remote: bool,

    /// A process whose CPU time and memory are reported: NAME=PID, or a NAME that is looked for in the command lines of this
    /// machine. By default the processes of the stack, or with local URLs all programs with a known name.
    #[arg(long = "process", value_name = "NAME[=PID]")]
    pub processes: Vec<ProcessChoice>,

    /// Write the results as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write the results as one HTML page with plots, which needs no other file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// GET /health of user-service.
    Health,
    /// The own profile.
    Profile,
    /// A search that finds one user.
    Search,
    /// The list of friends.
    Friends,
    /// Messages into one room of each pair.
    Send,
    /// The newest 50 of 200 messages.
    List50,
    /// The list of rooms.
    Rooms,
    /// Logins with a correct password.
    Login,
    /// Two people register, log in, meet, become friends and chat: 15 requests.
    Story,
    /// A file that one friend sends and the other one downloads: five requests, two of them to the object store.
    Files,
    /// The CPU time of one act over all processes at each of --rates, without the idle cost.
    Cpu,
    /// Different acts of ten pairs of people, 100 a second unless --rate is given.
    Mixed,
    /// The same for a long time: give --seconds. Shows the memory over time.
    Soak,
    /// Streams: opening them, their idle cost, and deliveries of 20 messages a second unless --rate is given.
    Streams,
    /// Streams that are cut at once and come back while 20 messages a second are sent, unless --rate is given.
    Reconnect,
    /// Curves: latency, CPU time and memory by the number of messages, rooms, accounts and streams.
    Growth,
}

impl Scenario {
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

const DEFAULT: [Scenario; 9] = [
    Scenario::Health,
    Scenario::Profile,
    Scenario::Search,
    Scenario::Friends,
    Scenario::Send,
    Scenario::List50,
    Scenario::Rooms,
    Scenario::Login,
    Scenario::Story,
];

const COSTED: [Act; 7] =
    [Act::Send, Act::ChangeProfile, Act::Rooms, Act::List50, Act::Search, Act::Friends, Act::Profile];

impl Args {
    /// The scenarios in the order of the command line, each once. A gateway does not route `/health`, so the default set leaves it
    /// out there.
    pub fn scenarios(&self) -> Vec<Scenario> {
        if !self.scenarios.is_empty() {
            let first = |(n, scenario): &(usize, &Scenario)| !self.scenarios[..*n].contains(scenario);
            return self.scenarios.iter().enumerate().filter(first).map(|(_, scenario)| *scenario).collect();
        }
        DEFAULT.into_iter().filter(|scenario| self.gateway.is_none() || *scenario != Scenario::Health).collect()
    }

    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// The addresses of the options, or those of the running stack.
    ///
    /// # Errors
    /// Fails if the options name none and no stack is running, or if the addresses are not complete.
    pub fn target(&self) -> anyhow::Result<Target> {
        Target::choose(&self.urls, self.gateway.as_ref())
    }

    /// The acts of the scenario `cpu`.
    pub fn acts(&self) -> &[Act] {
        if self.acts.is_empty() { &COSTED } else { &self.acts }
    }

    pub fn pairs(&self) -> usize {
        self.pairs.unwrap_or(if self.mixes() { 10 } else { 1 }) as usize
    }

    /// Whether a scenario needs accounts that log in.
    pub fn logs_in(&self) -> bool {
        self.mixes() || self.scenarios().contains(&Scenario::Login) || self.acts.contains(&Act::Login)
    }

    /// Pairs with a room of 200 messages, which take longer to create than accounts: one unless a scenario lists messages.
    pub fn archives(&self) -> usize {
        let scenarios = self.scenarios();
        let lists = self.mixes() || scenarios.contains(&Scenario::List50) || scenarios.contains(&Scenario::Cpu);
        if lists { self.pairs() } else { 1 }
    }

    /// The most connections at the same time.
    pub fn connections(&self) -> u32 {
        let of_scenario = |scenario: &Scenario| match scenario {
            Scenario::Streams | Scenario::Reconnect => self.streams,
            Scenario::Growth if self.dimensions().contains(&Dimension::Streams) => {
                Dimension::Streams.sizes(self.to).last().map_or(0, |size| *size as u32)
            }
            _ => 0,
        };
        self.clients + self.scenarios.iter().map(of_scenario).max().unwrap_or_default()
    }

    /// The data that grow in the scenario `growth`.
    pub fn dimensions(&self) -> &[Dimension] {
        if self.growth.is_empty() { &Dimension::ALL } else { &self.growth }
    }

    /// Streams that are cut.
    pub fn cut(&self) -> usize {
        self.cut.unwrap_or(self.streams) as usize
    }

    pub fn stream_kind(&self) -> StreamKind {
        StreamKind { all_rooms: self.all_rooms, rooms: self.rooms as usize }
    }

    fn mixes(&self) -> bool {
        self.scenarios.iter().any(|scenario| matches!(scenario, Scenario::Mixed | Scenario::Soak))
    }

    /// Checks the rules that clap cannot express.
    ///
    /// # Errors
    /// Returns a text about wrong options.
    pub fn check(&self) -> Result<(), String> {
        if self.gateway.is_some() && self.scenarios.contains(&Scenario::Health) {
            return Err("the gateway does not route /health: leave --gateway or the scenario `health` out".into());
        }
        if self.scenarios.contains(&Scenario::Growth) {
            self.check_growth()?;
        }
        if self.urls.is_empty() && !matches!(self.gateway, Some(Some(_))) {
            return Ok(());
        }
        let target = self.target().map_err(|error| format!("{error:#}"))?;
        match self.remote || target.is_local() {
            true => Ok(()),
            false => Err(format!("{} is not this machine: allow it with --remote", target.describe())),
        }
    }
}

impl Args {
    /// Data that grow stay, and some of them are written past the API.
    fn check_growth(&self) -> Result<(), String> {
        if self.runs > 1 {
            return Err("the data of the scenario `growth` stay, so it runs once: leave --runs out".into());
        }
        let is_stack = self.urls.is_empty() && !matches!(self.gateway, Some(Some(_)));
        match self.dimensions().iter().find(|dimension| dimension.needs_engines()) {
            Some(dimension) if !is_stack => Err(format!(
                "the growth of {} is written into the engines of the running stack, and of no other system: leave --url and \
                 --gateway URL out, or choose --growth rooms,streams",
                dimension.name()
            )),
            _ => Ok(()),
        }
    }
}

/// Acts a second.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.1..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("a rate is a number from 0.1 to 100000".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from([&["bench"], line].concat())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes_and_rates_are_bounded() {
        for line in [
            ["--clients", "0"],
            ["--clients", "10001"],
            ["--seconds", "0"],
            ["--runs", "10"],
            ["--rate", "0"],
            ["--rate", "NaN"],
        ] {
            assert!(parse(&line).is_err(), "{line:?}");
        }
        assert_eq!(parse(&["--rate", "0.5"]).unwrap().rate, Some(0.5));
    }

    #[test]
    fn a_gateway_has_no_health() {
        let through_gateway = parse(&["--gateway"]).unwrap();
        assert!(!through_gateway.scenarios().contains(&Scenario::Health));
        assert!(parse(&["--gateway", "--scenario", "health"]).unwrap().check().is_err());
        assert_eq!(parse(&["--scenario", "health"]).unwrap().check(), Ok(()));
    }

    #[test]
    fn another_machine_has_to_be_allowed() {
        let check = |line: &[&str]| parse(line).unwrap().check();
        assert!(check(&["--gateway", "https://chat.example.com"]).unwrap_err().contains("--remote"));
        assert_eq!(check(&["--gateway", "https://chat.example.com", "--remote"]), Ok(()));
        assert_eq!(check(&["--gateway", "http://127.0.0.1:8000"]), Ok(()));
        assert!(check(&["--url", "user=http://127.0.0.1:8005"]).unwrap_err().contains("--url friend=URL"));
    }

    #[test]
    fn other_systems_grow_only_by_the_api() {
        let check = |line: &[&str]| parse(&[&["--scenario", "growth"], line].concat()).unwrap().check();
        let gateway = ["--gateway", "http://127.0.0.1:8000"];
        assert!(check(&gateway).unwrap_err().contains("running stack"));
        assert_eq!(check(&[&gateway[..], &["--growth", "rooms,streams"]].concat()), Ok(()));
        assert_eq!(check(&["--gateway"]), Ok(()));
        assert!(check(&["--runs", "2"]).unwrap_err().contains("runs once"));
    }

    #[test]
    fn urls_of_services_and_a_gateway_exclude_each_other() {
        assert!(parse(&["--gateway", "http://127.0.0.1:1", "--url", "user=http://127.0.0.1:2"]).is_err());
    }
}
