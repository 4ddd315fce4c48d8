//! The results as text for the terminal.

use std::collections::BTreeMap;

use super::growth::memory_growth;
use super::{
    ActResult, Cost, Curve, Delivered, IdleCost, Load, Measured, Point, ProcessUse, Ratio, Reconnect, Report, Results,
    Spread, StreamCost,
};
use crate::system::Reading;

pub fn heading(report: &Report) -> String {
    format!(
        "{}\n{}\n{}",
        report.target.describe(),
        report.machine.line(),
        report.started_at.format("%Y-%m-%d %H:%M UTC")
    )
}

/// All tables.
pub fn results(results: &Results) -> String {
    let mut tables: Vec<_> = results.measured.iter().map(measured).collect();
    if !results.costs.is_empty() {
        tables.push(costs(&results.costs, &results.idle));
    }
    tables.extend(results.streams.as_ref().map(streams));
    tables.extend(results.reconnect.as_ref().map(reconnect));
    tables.extend(results.growth.iter().map(curve));
    tables.join("\n")
}

/// The rates of all scenarios in terms of that of `health`.
pub fn ratios(ratios: &[Ratio]) -> String {
    let each = |ratio: &Ratio| {
        let range = ratio.spread.as_ref().map(|spread| format!(" ({:.3} to {:.3})", spread.lowest, spread.highest));
        format!("{} {:.3}{}", ratio.scenario, ratio.to_health, range.unwrap_or_default())
    };
    format!("\nrate divided by that of health: {}", ratios.iter().map(each).collect::<Vec<_>>().join(", "))
}

/// The range of the key figure.
pub fn spread(spread: &Spread) -> String {
    let Spread { figure: name, runs, lowest, highest } = spread;
    let unit = match *name {
        "per_second" => "a second",
        "p99_ms" => "ms at p99",
        _ => "ms",
    };
    format!("median of {runs} runs: {} to {} {unit}", figure(*lowest), figure(*highest))
}

/// The table of one scenario, with its errors and its processes below.
fn measured(measured: &Measured) -> String {
    let mut lines = vec![format!("\n{}: {}, {:.1} s", measured.scenario, load(measured.load), measured.seconds)];
    lines.push(format!(
        "  {:<18} {:>10} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8}",
        "", "count", "a second", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "errors"
    ));
    lines.extend(measured.acts.iter().map(row));
    lines.extend(measured.spread.as_ref().map(|range| format!("  {}", spread(range))));
    for act in &measured.acts {
        lines.extend(act.errors.iter().map(|(error, count)| format!("  {}: {count} × {error}", act.act)));
    }
    if measured.unfinished > 0 {
        lines.push(format!(
            "  {} acts could not start or end in time: the system, or --clients, is too slow",
            measured.unfinished
        ));
    }
    lines.extend(processes(&measured.processes, measured.observed_seconds));
    lines.extend(growth(&measured.timeline));
    lines.join("\n")
}

/// A load in words.
pub fn load(load: Load) -> String {
    match load {
        Load::Closed { clients: 1 } => "1 client".into(),
        Load::Closed { clients } => format!("{clients} clients"),
        Load::Open { per_second, clients } => format!("{per_second} a second, at most {clients} at once"),
    }
}

fn row(act: &ActResult) -> String {
    let ActResult { act: name, count, per_second, latency, .. } = act;
    let [p50, p90, p99, p999, max] =
        [latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms].map(figure);
    format!(
        "  {name:<18} {count:>10} {:>10} {p50:>9} {p90:>9} {p99:>9} {p999:>9} {max:>9} {:>8}",
        figure(*per_second),
        act.failures()
    )
}

/// Processes that used less of a core are left out of the line about CPU time.
const SHOWN_PERCENT: f64 = 0.5;

/// The part of a core that each process used, and its memory.
fn processes(processes: &[ProcessUse], seconds: f64) -> Vec<String> {
    let percent = |cpu: f64| 100.0 * cpu / seconds.max(0.001);
    let of_system = processes.iter().filter(|process| Reading::is_of_system(&process.name));
    let all = percent(of_system.map(|process| process.cpu_seconds).sum());
    let busy = processes.iter().filter(|process| percent(process.cpu_seconds) >= SHOWN_PERCENT);
    let busy = busy.map(|process| format!("{} {:.0} %", process.name, percent(process.cpu_seconds)));
    let memory = processes.iter().map(|process| format!("{} {:.0}", process.name, process.memory_mb_after));
    let [busy, memory] = [busy.collect::<Vec<_>>(), memory.collect()].map(|parts| parts.join(", "));
    vec![format!("  of a core: {busy}; all but bench {all:.0} %"), format!("  memory, MB: {memory}")]
}

/// Processes that take less for every act, in milliseconds, have no column.
const SHOWN_MS: f64 = 0.05;

/// The tables of the scenario `cpu`, one for each rate, and the idle cost.
fn costs(costs: &[Cost], idle: &[IdleCost]) -> String {
    let shown = |name: &str| costs.iter().any(|cost| cost.ms.get(name).is_some_and(|ms| *ms >= SHOWN_MS));
    let names = idle.iter().map(|idle| idle.name.as_str());
    let names: Vec<_> = names.filter(|name| Reading::is_of_system(name) && shown(name)).collect();
    let columns = names.iter().map(|name| format!(" {name:>14}")).collect::<String>();
    let mut lines = Vec::new();
    for of_rate in costs.chunk_by(|one, next| one.per_second == next.per_second) {
        let rate = of_rate[0].per_second;
        lines.push(format!("\ncpu: ms of an act at {rate} a second, without the idle cost"));
        lines.push(format!("  {:<18} {:>7}{columns} {:>8} {:>8} {:>8}", "", "count", "all", "± noise", "errors"));
        lines.extend(of_rate.iter().map(|cost| cost_row(cost, &names)));
    }
    lines.push(idle_line(idle));
    lines.join("\n")
}

fn cost_row(cost: &Cost, names: &[&str]) -> String {
    let ms = |name: &&str| format!(" {:>14}", figure(cost.ms.get(*name).copied().unwrap_or_default()));
    let (columns, errors) = (names.iter().map(ms).collect::<String>(), cost.errors.values().sum::<u64>());
    let (all, noise) = (figure(cost.all_ms), figure(cost.noise_ms));
    let range = cost.spread.as_ref().map(|range| format!("  {}", spread(range))).unwrap_or_default();
    format!("  {:<18} {:>7}{columns} {all:>8} {noise:>8} {errors:>8}{range}", cost.act, cost.count)
}

/// The memory and the idle cost of open streams, and whether all deliveries arrived.
fn streams(cost: &StreamCost) -> String {
    let StreamCost { streams, kb_each, idle, deliveries } = cost;
    let (kb, idle) = (kb_line(kb_each), idle_line(idle));
    format!("\n{streams} open streams\n  {kb}\n{idle}\n  {}", delivered(deliveries))
}

pub fn delivered(Delivered { expected, received, lost, double, foreign }: &Delivered) -> String {
    format!(
        "{received} of {expected} expected deliveries arrived, {lost} were lost, {double} arrived again, {foreign} on streams of other rooms"
    )
}

fn reconnect(result: &Reconnect) -> String {
    format!("\n{}", reconnect_lines(result).join("\n  "))
}

/// The return of streams that were cut, one fact a line.
pub fn reconnect_lines(result: &Reconnect) -> [String; 3] {
    let Reconnect { streams, cut, back, all_back_seconds, resyncs, deliveries } = result;
    let time = match all_back_seconds {
        Some(seconds) => format!("all of them after {} s", figure(*seconds)),
        None => "the others were given up".into(),
    };
    [
        format!("{cut} of {streams} streams were cut at once and {back} came back, {time}"),
        format!("{resyncs} were answered `resync`"),
        delivered(deliveries),
    ]
}

/// The table of a curve: each act at each size.
fn curve(curve: &Curve) -> String {
    let mut lines = vec![format!("\ngrowth of {}", curve.dimension)];
    lines.push(format!(
        "  {:>10}  {:<18} {:>8} {:>9} {:>9} {:>9} {:>8} {:>8}",
        curve.dimension, "", "count", "p50 ms", "p99 ms", "CPU ms", "± noise", "errors"
    ));
    for point in &curve.points {
        lines.extend(point.acts.iter().map(|act| growth_row(point.size, act)));
        if !point.kb_each.is_empty() {
            lines.push(format!("  {:>10}  {}", point.size, kb_line(&point.kb_each)));
            lines.push(format!("  {:>10}{}", point.size, idle_line(&point.idle)));
        }
    }
    lines.join("\n")
}

fn growth_row(size: u64, act: &Cost) -> String {
    let Cost { act: name, count, latency, all_ms, noise_ms, errors, ms, .. } = act;
    // Deliveries have no CPU time of their own.
    let [all, noise] = [*all_ms, *noise_ms].map(|value| if ms.is_empty() { String::new() } else { figure(value) });
    let ([p50, p99], errors) = ([latency.p50_ms, latency.p99_ms].map(figure), errors.values().sum::<u64>());
    format!("  {size:>10}  {name:<18} {count:>8} {p50:>9} {p99:>9} {all:>9} {noise:>8} {errors:>8}")
}

fn kb_line(kb_each: &BTreeMap<String, f64>) -> String {
    let kb = kb_each.iter().map(|(name, kb)| format!("{name} {}", figure(*kb))).collect::<Vec<_>>().join(", ");
    format!("memory of each, KB: {kb}")
}

fn idle_line(idle: &[IdleCost]) -> String {
    let percent = |idle: &IdleCost| format!("{} {} %", idle.name, figure(idle.percent_of_core));
    format!("  idle, of a core: {}", idle.iter().map(percent).collect::<Vec<_>>().join(", "))
}

/// The growth of memory in a long measurement.
fn growth(timeline: &[Point]) -> Option<String> {
    let growth = memory_growth(timeline)?;
    let each = growth.iter().map(|(name, megabytes)| format!("{name} {megabytes:+.1}")).collect::<Vec<_>>().join(", ");
    Some(format!("  memory in an hour, MB, by the last two thirds: {each}"))
}

/// A figure with three significant digits at most, and whole from 100 on.
pub fn figure(value: f64) -> String {
    match value {
        value if value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        // Not "-0.00".
        value if value.abs() < 0.005 => "0.00".into(),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        assert_eq!(
            [1_430.4, 99.96, 12.34, 9.999, 0.126, -0.004].map(figure),
            ["1430", "100", "12.3", "10.0", "0.13", "0.00"]
        );
    }
}
