//! CPU time and resident memory of processes, by name.

use std::collections::BTreeMap;
use std::env;
use std::str::FromStr;

use anyhow::{Result, ensure};
use nix::time::ClockId;
use nix::unistd::Pid;
use procfs::process::{Process, all_processes};

/// The processes of the running stack, as `cargo stack bench` names them: `user-service-1=4711,mysql=4712`.
const STACK_PROCESSES: &str = "STACK_PROCESSES";

/// The benchmark itself, which takes its share of the same cores.
const OWN: &str = "bench";

/// Programs of the system and their names in the reports.
const KNOWN: [(&str, &str); 12] = [
    ("user-service", "user-service"),
    ("friend-service", "friend-service"),
    ("chat-service", "chat-service"),
    ("mysqld", "mysql"),
    ("mariadbd", "mysql"),
    ("mongod", "mongodb"),
    ("redis-server", "redis"),
    ("valkey-server", "redis"),
    ("kafka.Kafka", "kafka"),
    ("kong", "gateway"),
    ("nginx", "gateway"),
    ("uvicorn", "uvicorn"),
];

/// `NAME=PID`, or a `NAME` that is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessChoice {
    name: String,
    pid: Option<i32>,
}

impl FromStr for ProcessChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, pid) = match text.split_once('=') {
            Some((name, pid)) => (name, Some(pid.parse().map_err(|_| format!("`{pid}` is not a process id"))?)),
            None => (text, None),
        };
        match name {
            "" => Err("the name is missing".into()),
            name => Ok(Self { name: name.into(), pid }),
        }
    }
}

/// The measured processes: replicas have one name together.
#[derive(Clone, Debug, Default)]
pub struct Processes(BTreeMap<String, Vec<i32>>);

/// The CPU time and memory of the processes up to a moment.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Seconds of CPU time since the start of each process.
    pub cpu: BTreeMap<String, f64>,
    /// Resident bytes.
    pub memory: BTreeMap<String, u64>,
}

impl Processes {
    /// Those of the command line; else those of the stack, or the known programs of this machine.
    ///
    /// # Errors
    /// Fails if a process of the command line does not exist.
    pub fn choose(choices: &[ProcessChoice], is_stack: bool, is_local: bool) -> Result<Self> {
        let mut processes = Self::default();
        if !choices.is_empty() {
            choices.iter().try_for_each(|choice| processes.add(choice))?;
        } else if is_stack {
            let of_stack = env::var(STACK_PROCESSES).unwrap_or_default();
            let of_stack = of_stack.split(',').filter_map(|text| text.parse::<ProcessChoice>().ok());
            of_stack.for_each(|choice| processes.insert(&choice.name, choice.pid));
        } else if is_local {
            processes.find_known();
        }
        processes.insert(OWN, Some(std::process::id() as i32));
        Ok(processes)
    }

    fn add(&mut self, choice: &ProcessChoice) -> Result<()> {
        match choice.pid {
            Some(pid) => {
                ensure!(Process::new(pid).is_ok(), "no process has the id {pid}");
                self.insert(&choice.name, Some(pid));
            }
            None => {
                let found: Vec<_> = others().filter(|(_, line)| line.contains(&choice.name)).collect();
                ensure!(!found.is_empty(), "no command line contains `{}`", choice.name);
                found.into_iter().for_each(|(pid, _)| self.insert(&choice.name, Some(pid)));
            }
        }
        Ok(())
    }

    fn find_known(&mut self) {
        for (pid, line) in others() {
            if let Some(name) = known(&line) {
                self.insert(name, Some(pid));
            }
        }
    }

    fn insert(&mut self, name: &str, pid: Option<i32>) {
        if let Some(pid) = pid {
            self.0.entry(without_number(name).to_owned()).or_default().push(pid);
        }
    }

    /// A process that has ended counts as nothing.
    pub fn read(&self) -> Reading {
        let mut reading = Reading::default();
        for (name, pids) in &self.0 {
            reading.cpu.insert(name.clone(), pids.iter().filter_map(|pid| cpu_seconds(*pid)).sum());
            reading.memory.insert(name.clone(), pids.iter().filter_map(|pid| resident_bytes(*pid)).sum());
        }
        reading
    }
}

impl Reading {
    /// The CPU seconds of each process since an earlier reading.
    pub fn cpu_since(&self, earlier: &Self) -> BTreeMap<String, f64> {
        let since = |(name, cpu): (&String, &f64)| {
            let before = earlier.cpu.get(name).copied().unwrap_or_default();
            // A process that ended meanwhile has less than before.
            (name.clone(), (cpu - before).max(0.0))
        };
        self.cpu.iter().map(since).collect()
    }

    /// Whether a name belongs to the measured system and not to the benchmark.
    pub fn is_of_system(name: &str) -> bool {
        name != OWN
    }
}

/// Ids and command lines of all other processes.
fn others() -> impl Iterator<Item = (i32, String)> {
    let own = std::process::id() as i32;
    let processes = all_processes().into_iter().flatten().flatten().filter(move |process| process.pid != own);
    processes.filter_map(|process| Some((process.pid, process.cmdline().ok()?.join(" "))))
}

/// The name of a command line whose program is known, or that runs a known class or module.
fn known(line: &str) -> Option<&'static str> {
    let mut words = line.split(' ').map(|word| word.trim_end_matches(':'));
    let program = words.next()?.rsplit('/').next()?;
    let by_program = KNOWN.iter().find(|(known, _)| without_number(program) == *known);
    let by_module = || {
        KNOWN.iter().find(|(known, _)| {
            ["kafka.Kafka", "uvicorn"].contains(known)
                && words.clone().any(|word| word.rsplit('/').next() == Some(known))
        })
    };
    by_program.or_else(by_module).map(|(_, name)| *name)
}

/// The name of a replica without its number: `chat-service` of `chat-service-2`.
fn without_number(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((name, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    }
}

/// The CPU time of all threads of a process, to the nanosecond: acts at a low rate take less than the 10 ms in which /proc
/// counts.
fn cpu_seconds(pid: i32) -> Option<f64> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).ok()?;
    let used = clock.now().ok()?;
    Some(used.tv_sec() as f64 + used.tv_nsec() as f64 / 1e9)
}

fn resident_bytes(pid: i32) -> Option<u64> {
    Some(Process::new(pid).ok()?.statm().ok()?.resident * procfs::page_size())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn command_lines_have_the_names_of_the_reports() {
        assert_eq!(known("/x/.stack/bin/chat-service-1"), Some("chat-service"));
        assert_eq!(known("/usr/sbin/mariadbd --no-defaults --user=root"), Some("mysql"));
        assert_eq!(known("/usr/bin/java -Xmx384m -cp /libs/* kafka.Kafka server.properties"), Some("kafka"));
        assert_eq!(known("nginx: master process"), Some("gateway"));
        assert_eq!(known("/usr/bin/python3 /usr/local/bin/uvicorn app.main:app"), Some("uvicorn"));
        assert_eq!(known("vim chat-service.rs"), None);
        assert_eq!(known("/usr/bin/java -jar spring.jar"), None);
    }

    #[test]
    fn replicas_have_one_name_together() {
        let mut processes = Processes::default();
        for choice in ["chat-service-1=11", "chat-service-2=12", "mysql=13"] {
            let choice: ProcessChoice = choice.parse().unwrap();
            processes.insert(&choice.name, choice.pid);
        }
        assert_eq!(processes.0, [("chat-service".into(), vec![11, 12]), ("mysql".into(), vec![13])].into());
    }

    #[test]
    fn a_choice_of_a_process_is_a_name_with_or_without_an_id() {
        assert_eq!("spring.jar".parse(), Ok(ProcessChoice { name: "spring.jar".into(), pid: None }));
        assert!("mysql=x".parse::<ProcessChoice>().is_err());
        assert!("=4".parse::<ProcessChoice>().is_err());
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        let choice = |text: &str| [text.parse::<ProcessChoice>().unwrap()];
        assert!(Processes::choose(&choice("mysql=999999999"), false, true).is_err());
        assert!(Processes::choose(&choice("no program has this name"), false, true).is_err());
    }

    #[test]
    fn cpu_time_and_memory_of_this_process_are_read() {
        let own = Processes::choose(&[], true, true).unwrap();
        let before = own.read();
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let after = own.read();
        assert!(after.cpu_since(&before)[OWN] >= 0.005, "{after:?}");
        assert!(after.memory[OWN] > 1024 * 1024);
    }
}
