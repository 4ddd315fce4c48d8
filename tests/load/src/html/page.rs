//! The page: tables and plots of a run.

use std::collections::BTreeSet;

use super::axis::{Axis, log, nines};
use super::bars::{Bar, bars};
use super::curves::curve;
use super::escape::escape;
use super::lines::{Series, plot};
use super::table::table;
use crate::report::{
    ActResult, Cost, Load, Measured, Point, Ratio, Reconnect, Report, Results, StreamCost, delivered, figure, load,
    reconnect_lines, spread,
};
use crate::system::Reading;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{text-align:right;padding:.2rem .5rem;border-bottom:1px solid #8884}\
th:first-child,td:first-child{text-align:left}.scroll{overflow-x:auto}\
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:0 1rem}\
figure{margin:1rem 0}figcaption{font-weight:600}svg{width:100%;height:auto}\
svg text{font-size:12px;fill:currentColor}.grid{stroke:#8884;fill:none}.line{fill:none;stroke-width:2}\
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1rem;padding:0;margin:.3rem 0;font-size:13px}\
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.4em}\
.errors{color:#c0392b}";

/// A timeline of fewer points is no plot.
const MIN_POINTS: usize = 3;

/// The whole document.
pub fn page(report: &Report) -> String {
    let results = &report.results;
    let sections: String = results.measured.iter().map(measured).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Benchmark</title><style>{STYLE}</style></head><body>\
         {}{}{}{sections}{}{}{}{}</body></html>\n",
        heading(report),
        throughput(&results.measured),
        ratios(&report.ratios),
        costs(results),
        results.streams.as_ref().map(streams).unwrap_or_default(),
        results.reconnect.as_ref().map(reconnect).unwrap_or_default(),
        results.growth.iter().map(curve).collect::<String>(),
    )
}

fn heading(report: &Report) -> String {
    let interrupted = if report.interrupted { "<p class=\"errors\">The run was interrupted.</p>" } else { "" };
    format!(
        "<h1>Benchmark of {}</h1><p>{}<br>{}<br><code>cargo stack bench {}</code></p>{interrupted}",
        escape(&report.target.describe()),
        escape(&report.machine.line()),
        report.started_at.format("%Y-%m-%d %H:%M UTC"),
        escape(&report.arguments.join(" "))
    )
}

/// The rates of closed loops: that of an open loop is given.
fn throughput(measured: &[Measured]) -> String {
    let closed = measured.iter().filter(|measured| matches!(measured.load, Load::Closed { .. }));
    let rates = closed.map(|measured| {
        let per_second = measured.total.per_second;
        let value = format!("{} a second", figure(per_second));
        Bar { name: measured.scenario.clone(), value, parts: vec![per_second] }
    });
    let rates: Vec<_> = rates.collect();
    if rates.len() < 2 { String::new() } else { bars("Acts a second", &["acts"], &rates) }
}

/// The ratios to `health`, and their range in several runs.
fn ratios(ratios: &[Ratio]) -> String {
    let row = |ratio: &Ratio| {
        let range = ratio.spread.as_ref().map_or([ratio.to_health; 2], |spread| [spread.lowest, spread.highest]);
        let figures = [ratio.to_health].into_iter().chain(range).map(|ratio| format!("{ratio:.3}"));
        [ratio.scenario.clone()].into_iter().chain(figures).collect()
    };
    let columns = ["scenario", "rate divided by that of health", "lowest", "highest"];
    if ratios.is_empty() { String::new() } else { table(&columns, ratios.iter().map(row)) }
}

fn measured(measured: &Measured) -> String {
    let heading = format!("{}: {}, {:.1} s", measured.scenario, load(measured.load), measured.seconds);
    let columns = ["act", "count", "a second", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "errors"];
    let acts = table(&columns, measured.acts.iter().map(act_row));
    format!(
        "<h2>{}</h2>{acts}{}{}<div class=\"plots\">{}{}</div>{}",
        escape(&heading),
        measured.spread.as_ref().map(|range| format!("<p>{}.</p>", escape(&spread(range)))).unwrap_or_default(),
        errors(measured),
        percentiles(&measured.acts),
        timeline(&measured.timeline),
        processes(measured)
    )
}

fn act_row(act: &ActResult) -> Vec<String> {
    let latency = act.latency;
    let figures = [act.per_second, latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms];
    let mut row = vec![act.act.clone(), act.count.to_string()];
    row.extend(figures.map(figure));
    row.push(act.failures().to_string());
    row
}

fn errors(measured: &Measured) -> String {
    let of_act = |act: &ActResult| {
        let lines = act
            .errors
            .iter()
            .map(|(error, count)| format!("<li>{}: {count} × {}</li>", escape(&act.act), escape(error)));
        lines.collect::<String>()
    };
    let mut items: String = measured.acts.iter().map(of_act).collect();
    if measured.unfinished > 0 {
        items.push_str(&format!("<li>{} acts could not start or end in time</li>", measured.unfinished));
    }
    if items.is_empty() { items } else { format!("<ul class=\"errors\">{items}</ul>") }
}

fn percentiles(acts: &[ActResult]) -> String {
    let with_curve = || acts.iter().filter(|act| !act.curve.is_empty());
    let series = with_curve().map(|act| Series {
        name: act.act.clone(),
        points: act.curve.iter().map(|(quantile, ms)| (nines(*quantile), log(*ms))).collect(),
    });
    let series: Vec<_> = series.collect();
    let y = Axis::logarithmic("ms", with_curve().flat_map(|act| act.curve.iter().map(|(_, ms)| *ms)));
    if series.is_empty() { String::new() } else { plot("Latency by percentile", &Axis::quantiles(), &y, &series) }
}

fn timeline(points: &[Point]) -> String {
    let Some(last) = points.last().filter(|_| points.len() >= MIN_POINTS) else { return String::new() };
    let x = Axis::linear("s", last.at);
    let series = |name: &str, value: &dyn Fn(&Point) -> Option<f64>| Series {
        name: name.into(),
        points: points.iter().filter_map(|point| Some((point.at, value(point)?))).collect(),
    };
    let highest =
        |all: &[Series]| all.iter().flat_map(|series| &series.points).map(|point| point.1).fold(0.0, f64::max);
    let rate = [
        series("acts a second", &|point| Some(point.per_second)),
        series("errors in the interval", &|point| Some(point.errors as f64)),
    ];
    let latency = [series("p50", &|point| Some(point.p50_ms)), series("p99", &|point| Some(point.p99_ms))];
    let memory = last.memory_mb.keys().map(|name| series(name, &|point| point.memory_mb.get(name).copied()));
    let memory: Vec<_> = memory.collect();
    let over_time = |title, unit, all: &[Series]| plot(title, &x, &Axis::linear(unit, highest(all)), all);
    [
        over_time("Rate over time", "a second", &rate),
        over_time("Latency over time", "ms", &latency),
        over_time("Memory over time", "MB", &memory),
    ]
    .concat()
}

fn processes(measured: &Measured) -> String {
    let seconds = measured.observed_seconds.max(0.001);
    let rows = measured.processes.iter().map(|process| {
        vec![
            process.name.clone(),
            format!("{:.1} %", 100.0 * process.cpu_seconds / seconds),
            format!("{:.1}", process.memory_mb_before),
            format!("{:.1}", process.memory_mb_after),
        ]
    });
    let rows = table(&["process", "of a core", "MB before", "MB after"], rows);
    format!("<details><summary>CPU time and memory of each process</summary>{rows}</details>")
}

/// The stacked bars of the scenario `cpu`, one plot for each rate.
fn costs(report: &Results) -> String {
    let all: BTreeSet<&str> = report.costs.iter().flat_map(|cost| cost.ms.keys().map(String::as_str)).collect();
    let names: Vec<&str> = all.into_iter().filter(|name| Reading::is_of_system(name)).collect();
    let bar = |cost: &Cost| Bar {
        name: cost.act.clone(),
        value: format!("{} ± {} ms", figure(cost.all_ms), figure(cost.noise_ms)),
        parts: names.iter().map(|name| cost.ms.get(*name).copied().unwrap_or_default()).collect(),
    };
    let mut columns = vec!["act", "a second", "count"];
    columns.extend(&names);
    columns.extend(["all", "± noise", "errors", "lowest", "highest"]);
    let row = |cost: &Cost| {
        let mut row = vec![cost.act.clone(), cost.per_second.to_string(), cost.count.to_string()];
        row.extend(names.iter().map(|name| figure(cost.ms.get(*name).copied().unwrap_or_default())));
        row.extend([figure(cost.all_ms), figure(cost.noise_ms), cost.errors.values().sum::<u64>().to_string()]);
        let range = cost.spread.as_ref().map_or([cost.all_ms; 2], |spread| [spread.lowest, spread.highest]);
        row.extend(range.map(figure));
        row
    };
    let plots = report.costs.chunk_by(|one, next| one.per_second == next.per_second).map(|of_rate| {
        let title = format!("CPU time of an act at {} a second, ms, without the idle cost", of_rate[0].per_second);
        bars(&title, &names, &of_rate.iter().map(bar).collect::<Vec<_>>())
    });
    match report.costs.is_empty() {
        true => String::new(),
        false => format!("<h2>cpu</h2>{}{}", plots.collect::<String>(), table(&columns, report.costs.iter().map(row))),
    }
}

fn streams(cost: &StreamCost) -> String {
    let StreamCost { streams, kb_each, idle, deliveries } = cost;
    let percent_of = |name: &str| idle.iter().find(|idle| idle.name == name).map_or(0.0, |idle| idle.percent_of_core);
    let rows =
        kb_each.iter().map(|(name, kb)| vec![name.clone(), figure(*kb), format!("{} %", figure(percent_of(name)))]);
    let rows = table(&["process", "KB for each stream", "idle, of a core"], rows);
    format!("<h2>{streams} open streams</h2><p>{}.</p>{rows}", delivered(deliveries))
}

fn reconnect(result: &Reconnect) -> String {
    let lines = reconnect_lines(result).map(|line| format!("<li>{}</li>", escape(&line)));
    format!("<h2>Reconnect</h2><ul>{}</ul>", lines.concat())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::load::Row;
    use crate::report::{Curve, Delivered, GrowthPoint, IdleCost, Latency, ProcessUse, Spread, Total};
    use crate::system::Machine;
    use crate::target::Target;

    const HOSTILE: &str = "<script>alert('x')</script>\"&";

    fn point(at: f64) -> Point {
        let memory_mb = [(HOSTILE.to_owned(), 10.0)].into();
        Point { at, per_second: 5.0, errors: 0, p50_ms: 1.0, p99_ms: 2.0, memory_mb }
    }

    /// A report in which every text that comes from outside is hostile.
    fn report() -> Report {
        let target = Target::choose(&[], Some(&Some("http://127.0.0.1:1/<script>".into()))).unwrap();
        let mut report = Report::new(Machine::describe(), target, vec![HOSTILE.into()]);
        let mut row = Row::default();
        row.latency.saturating_record(1_500);
        row.errors.insert(HOSTILE.into(), 2);
        let measured = |scenario: &str, row| Measured {
            scenario: scenario.into(),
            load: Load::Closed { clients: 50 },
            seconds: 1.0,
            observed_seconds: 1.0,
            total: Total { count: 1, per_second: 1.0, p99_ms: 1.5 },
            spread: Spread::of("per_second", &[1.0, 2.0]),
            acts: vec![ActResult::new("send", row, 1.0)],
            unfinished: 3,
            processes: vec![ProcessUse {
                name: HOSTILE.into(),
                cpu_seconds: 0.5,
                memory_mb_before: 1.0,
                memory_mb_after: 2.0,
            }],
            timeline: [1.0, 2.0, 3.0].map(point).into(),
        };
        let mut results =
            Results { measured: vec![measured("send", row), measured("empty", Row::default())], ..Results::default() };
        let ms: BTreeMap<_, _> = [(HOSTILE.to_owned(), 3.5), ("mysql".to_owned(), -0.1)].into();
        let errors = BTreeMap::new();
        let (ms_of_cost, spread) = (ms.clone(), Spread::of("all_ms", &[3.0, 4.0]));
        let (all_ms, noise_ms) = (3.5, 0.1);
        let act = "send".into();
        let latency = Latency { p50_ms: 1.0, p99_ms: 2.0, ..Latency::default() };
        let cost = Cost { act, per_second: 30.0, count: 10, errors, latency, ms: ms_of_cost, all_ms, noise_ms, spread };
        results.costs = vec![cost.clone()];
        let idle = vec![IdleCost { name: HOSTILE.into(), percent_of_core: 1.0 }];
        let point = |size| GrowthPoint { size, acts: vec![cost.clone()], kb_each: ms.clone(), idle: idle.clone() };
        results.growth = vec![Curve { dimension: "streams", points: [10, 100].map(point).into() }];
        results.streams = Some(StreamCost { streams: 7, kb_each: ms, idle, deliveries: Delivered::default() });
        report.results = results;
        report.ratios = vec![Ratio { scenario: "send".into(), to_health: 0.25, spread: None }];
        report
    }

    #[test]
    fn text_from_outside_is_escaped_everywhere() {
        let page = page(&report());
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"));
        assert!(!page.contains("<script") && !page.contains("alert('x')"));
    }

    #[test]
    fn the_page_loads_nothing_and_has_numbers_only() {
        let page = page(&report());
        for loading in [" src=", " href=", "url(", "@import", "<link", "<iframe"] {
            assert!(!page.contains(loading), "{loading}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }

    #[test]
    fn the_page_has_a_plot_of_everything_that_was_measured() {
        let page = page(&report());
        for title in [
            "Acts a second",
            "rate divided by that of health",
            "median of 2 runs: 1.00 to 2.00 a second",
            "Latency by percentile",
            "Rate over time",
            "Memory over time",
            "CPU time of an act at 30 a second",
            "7 open streams",
            "Latency by the number of streams",
            "Memory of each by the number of streams",
        ] {
            assert!(page.contains(title), "{title}");
        }
        let tags = |tag: &str| (page.matches(&format!("<{tag}")).count(), page.matches(&format!("</{tag}>")).count());
        for tag in ["svg", "figure", "table", "ul", "text", "title"] {
            let (opened, closed) = tags(tag);
            assert_eq!(opened, closed, "{tag}");
        }
    }
}
