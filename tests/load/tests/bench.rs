//! Short runs of the benchmark against the stack of `cargo stack test`. They check that it counts, and never how fast the
//! system is.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use uuid::Uuid;

/// The variables with which the benchmark finds the stack.
const STACK: [&str; 3] = ["USER_URLS", "FRIEND_URLS", "CHAT_URLS"];

/// The file of a run, which is removed at the end.
struct Results(PathBuf);

impl Results {
    fn new() -> Self {
        Self(env::temp_dir().join(format!("bench-{}.json", Uuid::new_v4().simple())))
    }

    fn read(&self) -> Value {
        serde_json::from_slice(&std::fs::read(&self.0).unwrap()).unwrap()
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn bench(args: &[&str]) -> Command {
    for variable in STACK {
        assert!(env::var(variable).is_ok(), "{variable} is not set: run the tests with `cargo stack test`");
    }
    let mut bench = Command::new(env!("CARGO_BIN_EXE_load"));
    bench.args(args);
    bench
}

/// Runs the benchmark to a successful end and returns its results and its output.
fn results(args: &[&str]) -> (Value, String) {
    let file = Results::new();
    let output = bench(args).args(["--clients", "4", "--seconds", "1", "--json"]).arg(&file.0).output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    (file.read(), String::from_utf8(output.stdout).unwrap())
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The rows of all measurements: scenario, act and count. Fails for an error of a row.
fn rows(results: &Value) -> Vec<(String, String, u64)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let measured = results["measured"].as_array().unwrap().iter();
    let rows = measured.flat_map(|measured| {
        assert_eq!(measured["unfinished"], 0, "{measured}");
        measured["acts"].as_array().unwrap().iter().map(move |act| (measured, act))
    });
    rows.map(|(measured, act)| {
        assert_eq!(act["errors"], serde_json::json!({}), "{measured}");
        (text(&measured["scenario"]), text(&act["act"]), act["count"].as_u64().unwrap())
    })
    .collect()
}

#[test]
fn the_default_scenarios_succeed_without_errors() {
    let (results, output) = results(&[]);
    let rows = rows(&results);
    let scenarios = ["health", "profile", "search", "friends", "send", "list50", "rooms", "login", "story"];
    for scenario in scenarios {
        assert!(rows.iter().any(|(of, _, count)| of == scenario && *count > 0), "{scenario}: {rows:?}");
        assert!(output.contains(&format!("\n{scenario}: 4 clients")), "{output}");
    }
    let count = |act: &str| rows.iter().find(|(_, name, _)| name == act).unwrap().2;
    assert_eq!(count("story: send"), 5 * count("story"));
    assert_eq!(count("story: register"), 2 * count("story"));
    assert_eq!(results["interrupted"], false);
}

#[test]
fn several_runs_are_measured_in_turn_and_the_median_is_shown() {
    let (results, output) = results(&["--scenario", "health", "--scenario", "profile", "--runs", "2"]);
    let scenarios = |of: &Value| {
        let measured = of["measured"].as_array().unwrap().iter();
        measured.map(|measured| measured["scenario"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let runs = results["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for one in runs.iter().chain([&results]) {
        assert_eq!(scenarios(one), ["health", "profile"]);
        rows(one);
    }
    let rate = |of: &Value| of["measured"][1]["total"]["per_second"].as_f64().unwrap();
    let (spread, rates) = (&results["measured"][1]["spread"], [rate(&runs[0]), rate(&runs[1])]);
    assert_eq!(rate(&results), rates[0].min(rates[1]), "of two runs, the lower one is shown");
    assert_eq!([&spread["lowest"], &spread["highest"]], [rates[0].min(rates[1]), rates[0].max(rates[1])]);
    assert_eq!(results["ratios"][0]["scenario"], "profile");
    assert_eq!(output.matches("\nprofile: 4 clients").count(), 1, "{output}");
    assert!(output.contains("median of 2 runs") && output.contains("rate divided by that of health: profile"));
}

#[test]
fn an_open_loop_starts_as_many_acts_as_its_rate_says() {
    let (results, _) = results(&["--scenario", "send", "--scenario", "mixed", "--rate", "40"]);
    let rows = rows(&results);
    assert_eq!(rows.iter().filter(|(scenario, ..)| scenario == "send").map(|(.., count)| count).sum::<u64>(), 40);
    assert_eq!(rows.iter().filter(|(scenario, ..)| scenario == "mixed").map(|(.., count)| count).sum::<u64>(), 40);
}

#[test]
fn files_are_sent_and_downloaded() {
    let (results, _) = results(&["--scenario", "files"]);
    let rows = rows(&results);
    for act in ["file", "file: upload", "file: store", "file: send", "file: redirect", "file: load"] {
        assert!(rows.iter().any(|(_, name, count)| name == act && *count > 0), "{act}: {rows:?}");
    }
}

#[test]
fn the_page_has_the_tables_and_loads_nothing() {
    let page = Results::new();
    let (results, _) = results(&["--scenario", "friends", "--html", page.0.to_str().unwrap()]);
    let html = std::fs::read_to_string(&page.0).unwrap();
    assert!(html.contains("friends: 4 clients") && html.ends_with("</html>\n"), "{html}");
    assert!(!html.contains(" src=") && !html.contains(" href=") && !html.contains("<script"));
    rows(&results);
}

#[test]
fn every_message_arrives_on_every_stream_of_its_room() {
    let (results, _) = results(&["--scenario", "streams", "--streams", "60", "--rate", "10"]);
    let streams = &results["streams"];
    assert_eq!(streams["streams"], 60);
    // Rooms of 40 and of 20 streams, and ten messages in turn.
    let deliveries =
        ["expected", "received", "lost", "double", "foreign"].map(|count| streams[count].as_u64().unwrap());
    assert_eq!(deliveries, [300, 300, 0, 0, 0]);
    rows(&results);
}

#[test]
fn streams_that_are_cut_come_back_and_miss_nothing() {
    let streams = ["--scenario", "reconnect", "--streams", "30", "--cut", "20", "--all-rooms", "--rooms", "3"];
    let (results, output) = results(&streams);
    let reconnect = &results["reconnect"];
    let counts = ["streams", "cut", "back", "resyncs", "lost", "double", "foreign"];
    assert_eq!(counts.map(|count| reconnect[count].as_u64().unwrap()), [30, 20, 20, 0, 0, 0, 0], "{reconnect}");
    assert!(reconnect["expected"].as_u64().unwrap() > 0 && reconnect["all_back_seconds"].is_f64(), "{reconnect}");
    assert!(output.contains("20 of 30 streams were cut at once and 20 came back"), "{output}");
    let rows = rows(&results);
    assert!(rows.contains(&("reconnect: come back".into(), "open again".into(), 20)), "{rows:?}");
}

#[test]
fn curves_have_a_point_of_each_size() {
    let (results, output) = results(&["--scenario", "growth", "--growth", "messages,streams", "--to", "9"]);
    let curves = results["growth"].as_array().unwrap();
    let points = curves.iter().flat_map(|curve| {
        let points = curve["points"].as_array().unwrap().iter();
        points.map(move |point| (curve["dimension"].as_str().unwrap(), point["size"].as_u64().unwrap()))
    });
    assert_eq!(points.collect::<Vec<_>>(), [("messages", 9), ("streams", 9)]);
    let acts = curves[0]["points"][0]["acts"].as_array().unwrap().iter();
    let acts = acts.map(|act| {
        assert_eq!(act["errors"], serde_json::json!({}), "{act}");
        (act["act"].as_str().unwrap(), act["count"].as_u64().unwrap())
    });
    assert_eq!(acts.collect::<Vec<_>>(), [("list 50", 20), ("rooms", 20), ("unread count", 20), ("send", 20)]);
    assert!(output.contains("growth of messages") && output.contains("growth of streams"), "{output}");
}

#[test]
fn the_cost_of_the_chosen_acts_is_measured_at_the_rate() {
    let (results, _) = results(&["--scenario", "cpu", "--act", "send", "--act", "change-profile", "--rates", "20"]);
    let costs = results["costs"].as_array().unwrap();
    let measured = costs.iter().map(|cost| {
        assert_eq!(cost["errors"], serde_json::json!({}), "{cost}");
        (cost["act"].as_str().unwrap(), cost["count"].as_u64().unwrap())
    });
    assert_eq!(measured.collect::<Vec<_>>(), [("send", 20), ("profile change", 20)]);
}

#[test]
fn a_run_registers_no_more_accounts_than_it_may() {
    let (results, _) = results(&["--scenario", "story", "--accounts", "16"]);
    let acts = results["measured"][0]["acts"].as_array().unwrap();
    let count = |name: &str| acts.iter().find(|act| act["act"] == name).unwrap()["count"].as_u64().unwrap();
    // Four of the sixteen are those of the preparation.
    assert!(count("story: register") <= 12 && count("story") <= 6, "{acts:?}");
}

#[test]
fn a_refused_request_is_counted_by_its_status_and_code() {
    // The gateway has no route for `/health` below the prefix.
    let user = env::var("GATEWAY_URL").expect("GATEWAY_URL is not set: run the tests with `cargo stack test`");
    let [user, friend, chat] =
        [("user", user), ("friend", env::var("FRIEND_URL").unwrap()), ("chat", env::var("CHAT_URL").unwrap())]
            .map(|(name, url)| format!("{name}={url}/api"));
    let args =
        ["--scenario", "health", "--clients", "1", "--seconds", "1", "--url", &user, "--url", &friend, "--url", &chat];
    let output = bench(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("no act of the scenario health succeeded"), "{}", errors(&output));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains(" × 404"), "{table}");
}

#[test]
fn ctrl_c_ends_a_run_with_what_was_measured() {
    let file = Results::new();
    let mut running = bench(&["--scenario", "health", "--seconds", "300", "--json", file.0.to_str().unwrap()]);
    let mut running = running.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "measuring health"));
    // The load runs for two seconds before it is measured.
    sleep(Duration::from_secs(4));
    kill(Pid::from_raw(running.id() as i32), Signal::SIGINT).unwrap();

    assert_eq!(running.wait().unwrap().code(), Some(130));

    let results = file.read();
    assert_eq!(results["interrupted"], true);
    assert!(results["measured"][0]["acts"][0]["count"].as_u64().unwrap() > 0, "{results}");
}

#[test]
fn requests_go_to_all_replicas() {
    let [user, friend, chat] = ["user", "friend", "chat"]
        .map(|name| format!("{name}={}", env::var(format!("{}_URL", name.to_uppercase())).unwrap()));
    // No service has the API there.
    let second = format!("user={}", env::var("GATEWAY_URL").unwrap());
    let args = ["--scenario", "health", "--clients", "2", "--seconds", "1", "--url", &user, "--url", &friend];
    let output = bench(&args).args(["--url", &chat, "--url", &second]).output().unwrap();
    let table = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(table.contains("2 replicas of user-service"), "{table}{}", errors(&output));
    assert!(output.status.success() && table.contains(" × 404"), "{table}{}", errors(&output));
}

#[test]
fn an_address_that_does_not_answer_is_named() {
    let output = bench(&["--gateway", "http://127.0.0.1:9"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("cannot reach user-service at http://127.0.0.1:9/api"), "{}", errors(&output));
}

#[test]
fn wrong_arguments_have_an_exit_code_of_their_own() {
    for args in
        [&["--scenario", "none"][..], &["--clients", "0"], &["--url", "user=x"], &["--gateway", "http://192.0.2.1"]]
    {
        assert_eq!(bench(args).output().unwrap().status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn without_a_stack_the_error_says_how_to_start_one() {
    let mut bench = bench(&[]);
    for variable in STACK {
        bench.env_remove(variable);
    }
    let output = bench.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("cargo stack up"), "{}", errors(&output));
}
