//! A run from the first check to the last file.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::act::Act;
use crate::api::Api;
use crate::args::{Args, Scenario};
use crate::html;
use crate::http::{self, Failure};
use crate::report::{self, Report, Results};
use crate::scenarios::{self, Run};
use crate::system::{Machine, Processes, raise_limit};
use crate::target::Service;
use crate::terminal::{clear_progress, note, print, print_error};
use crate::world::World;

/// As of a shell whose command was ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// The time in which a reachable service answers.
const REACH_TIMEOUT: Duration = Duration::from_secs(10);

/// The time in which a scenario ends after Ctrl-C.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Descriptors that are not connections of clients.
const OTHER_DESCRIPTORS: u64 = 64;

pub async fn run(args: Args) -> Result<ExitCode> {
    let target = args.target()?;
    args.json.iter().chain(&args.html).try_for_each(|file| ensure_writable(file))?;
    ensure_descriptors(args.connections())?;
    let processes = Processes::choose(&args.processes, target.is_stack, target.is_local())?;
    let http = http::client()?;
    for service in Service::ALL {
        for base in target.replicas(service) {
            ensure_reachable(&http, service, base).await?;
        }
    }
    let stop = stop_at_signal()?;
    let mut report = Report::new(Machine::describe(), target.clone(), std::env::args().skip(1).collect());
    print(&report::heading(&report));
    note("preparing accounts, rooms and messages");
    let api = Arc::new(Api::new(http, target, args.accounts));
    let world = tokio::select! {
        world = World::create(api, args.pairs(), args.archives(), args.logs_in()) => Arc::new(world?),
        () = stop.cancelled() => bail!("interrupted before anything was measured"),
    };
    let run = Run { world, processes, clients: args.clients, duration: args.duration(), rate: args.rate, stop };
    let mut runs = Vec::new();
    for number in 1..=args.runs {
        if args.runs > 1 && !run.stop.is_cancelled() {
            note(&format!("run {number} of {}", args.runs));
        }
        runs.push(measure_all(&run, &args).await);
    }
    report.interrupted = run.stop.is_cancelled();
    report.conclude(runs);
    if args.runs > 1 {
        print(&report::results(&report.results));
    }
    if !report.ratios.is_empty() {
        print(&report::ratios(&report.ratios));
    }
    finish(&report, &args)
}

/// Measures all scenarios once. Prints the tables of each one if there is no further run.
async fn measure_all(run: &Run, args: &Args) -> Results {
    let mut results = Results::default();
    for scenario in args.scenarios() {
        if run.stop.is_cancelled() {
            break;
        }
        note(&format!("measuring {}", scenario.name()));
        let measured = measure(run, scenario, args).await;
        clear_progress();
        if args.runs == 1 {
            print(&report::results(&measured));
        }
        results.add(measured);
    }
    results
}

async fn measure(run: &Run, scenario: Scenario, args: &Args) -> Results {
    let name = scenario.name();
    let one = |act| scenarios::act(run, &name, act);
    let measured = match scenario {
        Scenario::Health => one(Act::Health).await,
        Scenario::Profile => one(Act::Profile).await,
        Scenario::Search => one(Act::Search).await,
        Scenario::Friends => one(Act::Friends).await,
        Scenario::Send => one(Act::Send).await,
        Scenario::List50 => one(Act::List50).await,
        Scenario::Rooms => one(Act::Rooms).await,
        Scenario::Login => one(Act::Login).await,
        Scenario::Story => scenarios::stories(run, &name).await,
        Scenario::Files => scenarios::files(run, &name).await,
        Scenario::Mixed | Scenario::Soak => scenarios::mixed(run, &name).await,
        Scenario::Cpu => return measure_costs(run, args).await,
        Scenario::Streams => return measure_streams(run, &name, args).await,
        Scenario::Reconnect => return measure_reconnect(run, &name, args).await,
        Scenario::Growth => {
            let growth = scenarios::growth(run, args.dimensions(), args.to, args.stream_kind()).await;
            return Results { growth, ..Results::default() };
        }
    };
    Results { measured: vec![measured], ..Results::default() }
}

async fn measure_streams(run: &Run, name: &str, args: &Args) -> Results {
    let measuring = scenarios::streams(run, name, args.streams as usize, args.stream_kind());
    let measured = prepared(run, name, measuring).await;
    measured.map(|(measured, cost)| Results { measured, streams: Some(cost), ..Results::default() }).unwrap_or_default()
}

async fn measure_reconnect(run: &Run, name: &str, args: &Args) -> Results {
    let measuring = scenarios::reconnect(run, name, args.streams as usize, args.cut(), args.stream_kind());
    let measured = prepared(run, name, measuring).await;
    let results =
        measured.map(|(measured, result)| Results { measured, reconnect: Some(result), ..Results::default() });
    results.unwrap_or_default()
}

/// The results of a scenario that creates its own people; None if it cannot, or does not end after a stop.
async fn prepared<T>(run: &Run, name: &str, measuring: impl Future<Output = Result<T, Failure>>) -> Option<T> {
    let measured = tokio::select! {
        measured = measuring => measured,
        // Streams that open or deliver end by themselves then, with what was measured.
        () = stopped_for(run, STOP_PATIENCE) => return None,
    };
    let tell = |failure: &Failure| print_error(&format!("cannot prepare the scenario {name}: {failure}"));
    measured.inspect_err(tell).ok()
}

async fn measure_costs(run: &Run, args: &Args) -> Results {
    let (costs, idle) = scenarios::costs(run, args.acts(), &args.rates).await;
    Results { costs, idle, ..Results::default() }
}

/// Writes the files. The code tells an interruption, and a scenario without any success.
fn finish(report: &Report, args: &Args) -> Result<ExitCode> {
    if let Some(file) = &args.json {
        write(file, &serde_json::to_vec_pretty(report)?)?;
    }
    if let Some(file) = &args.html {
        write(file, html::page(report).as_bytes())?;
    }
    if report.interrupted {
        note("interrupted: these are the results until then");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let all = report.runs.iter().chain([&report.results]);
    match all.into_iter().find_map(|results| without_success(results, &args.scenarios())) {
        Some(scenario) => bail!("no act of the scenario {scenario} succeeded"),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// A scenario in which nothing succeeded.
fn without_success<'a>(results: &'a Results, scenarios: &[Scenario]) -> Option<&'a str> {
    if scenarios.contains(&Scenario::Cpu) && results.costs.is_empty() {
        return Some("cpu");
    }
    if scenarios.contains(&Scenario::Streams) && results.streams.as_ref().is_none_or(|cost| cost.streams == 0) {
        return Some("streams");
    }
    if scenarios.contains(&Scenario::Reconnect) && results.reconnect.as_ref().is_none_or(|result| result.back == 0) {
        return Some("reconnect");
    }
    if results.growth.iter().any(|curve| curve.points.is_empty()) {
        return Some("growth");
    }
    let failed = results.measured.iter().find(|measured| !measured.has_success());
    failed.map(|measured| measured.scenario.as_str())
}

/// Ends a time after the run was stopped.
async fn stopped_for(run: &Run, time: Duration) {
    run.stop.cancelled().await;
    sleep(time).await;
}

fn write(file: &Path, content: &[u8]) -> Result<()> {
    fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))
}

/// Fails before the measurements if a file cannot be written after them.
fn ensure_writable(file: &Path) -> Result<()> {
    let opened = OpenOptions::new().create(true).append(true).open(file);
    opened.map(drop).with_context(|| format!("cannot write {}", file.display()))
}

fn ensure_descriptors(connections: u32) -> Result<()> {
    match raise_limit() {
        Some(limit) if limit < u64::from(connections) + OTHER_DESCRIPTORS => {
            bail!(
                "{connections} connections need more open files than this process may have ({limit}; see `ulimit -Hn`)"
            )
        }
        _ => Ok(()),
    }
}

/// Any answer will do: a gateway has no `/health`.
async fn ensure_reachable(http: &Client, service: Service, base: &str) -> Result<()> {
    let asked = http.request(Method::GET, format!("{base}/health")).timeout(REACH_TIMEOUT).send().await;
    let cause = match asked {
        Ok(_) => return Ok(()),
        Err(error) if error.is_timeout() => format!("no answer within {} s", REACH_TIMEOUT.as_secs()),
        Err(error) => Failure::from(error).to_string(),
    };
    bail!("cannot reach {}-service at {base}: {cause}", service.name())
}

/// A token that Ctrl-C and SIGTERM cancel. A second one ends the program at once.
fn stop_at_signal() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stopping = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stopping.is_cancelled() {
                std::process::exit(INTERRUPTED.into());
            }
            stopping.cancel();
        }
    });
    Ok(stop)
}
