//! The median of several runs, and the ratios of their rates.

use std::collections::BTreeMap;

use super::{Cost, Delivered, IdleCost, Load, Measured, Ratio, Reconnect, Report, Results, Spread, StreamCost};

/// The scenario whose rate is the measure of the others: it does no work beyond HTTP.
const MEASURE: &str = "health";

impl Report {
    /// Takes the results of all runs.
    pub fn conclude(&mut self, runs: Vec<Results>) {
        (self.results, self.ratios) = (median_of(&runs), ratios(&runs));
        if runs.len() > 1 {
            self.runs = runs;
        }
    }
}

/// The results of several runs as one: of each scenario the run with the median of its key figure, and of costs and streams the
/// median of each value. Counts of acts, errors and deliveries are those of all runs together.
fn median_of(runs: &[Results]) -> Results {
    let measured = grouped(runs.iter().flat_map(|run| &run.measured), |measured| measured.scenario.clone());
    let costs = grouped(runs.iter().flat_map(|run| &run.costs), |cost| (cost.act.clone(), cost.per_second));
    let streams: Vec<_> = runs.iter().filter_map(|run| run.streams.as_ref()).collect();
    let reconnects: Vec<_> = runs.iter().filter_map(|run| run.reconnect.as_ref()).collect();
    Results {
        measured: measured.iter().filter_map(|runs| median_run(runs)).collect(),
        costs: costs.iter().filter_map(|runs| median_cost(runs)).collect(),
        idle: median_idle(runs.iter().flat_map(|run| &run.idle)),
        streams: median_streams(&streams),
        reconnect: median_reconnect(&reconnects),
        // It runs once.
        growth: runs.iter().flat_map(|run| run.growth.clone()).collect(),
    }
}

/// The rates of closed loops with the clients of `health`, each divided by the rate of `health` in the same run.
fn ratios(runs: &[Results]) -> Vec<Ratio> {
    let of_runs: Vec<_> = runs.iter().flat_map(|run| ratios_of(&run.measured)).collect();
    let ratio = |of_scenario: &Vec<&(&str, f64)>| {
        let values: Vec<_> = of_scenario.iter().map(|(_, ratio)| *ratio).collect();
        let spread = Spread::of("to_health", &values);
        Some(Ratio { scenario: of_scenario.first()?.0.into(), to_health: median(&values)?, spread })
    };
    grouped(of_runs.iter(), |(scenario, _)| *scenario).iter().filter_map(ratio).collect()
}

fn ratios_of(measured: &[Measured]) -> Vec<(&str, f64)> {
    let Some(health) = measured.iter().find(|measured| measured.scenario == MEASURE) else { return Vec::new() };
    let Load::Closed { clients } = health.load else { return Vec::new() };
    let comparable = |other: &&Measured| {
        other.scenario != MEASURE && matches!(other.load, Load::Closed { clients: of_other } if of_other == clients)
    };
    let others = measured.iter().filter(comparable).filter(|_| health.total.per_second > 0.0);
    others.map(|other| (other.scenario.as_str(), other.total.per_second / health.total.per_second)).collect()
}

/// The values with equal keys, in the order of the first of each key.
fn grouped<'a, T, K: PartialEq>(values: impl Iterator<Item = &'a T>, key: impl Fn(&'a T) -> K) -> Vec<Vec<&'a T>> {
    let mut groups: Vec<(K, Vec<&T>)> = Vec::new();
    for value in values {
        let of_value = key(value);
        match groups.iter_mut().find(|(key, _)| *key == of_value) {
            Some((_, group)) => group.push(value),
            None => groups.push((of_value, vec![value])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The run with the median rate of a closed loop, or the median p99 of an open one.
fn median_run(runs: &[&Measured]) -> Option<Measured> {
    let figures = |runs: &[&Measured]| runs.iter().map(|run| run.key_figure()).collect::<Vec<_>>();
    // The latency of a run without a success would be the lowest.
    let (succeeded, failed): (Vec<_>, Vec<_>) = runs.iter().copied().partition(|run| run.total.count > 0);
    let Some(middle) = median_index(&figures(&succeeded)) else { return failed.first().copied().cloned() };
    let mut median = succeeded[middle].clone();
    median.spread = Spread::of(median.key(), &figures(runs));
    Some(median)
}

fn median_cost(runs: &[&Cost]) -> Option<Cost> {
    let first = runs.first()?;
    let all: Vec<_> = runs.iter().map(|cost| cost.all_ms).collect();
    let p99: Vec<_> = runs.iter().map(|cost| cost.latency.p99_ms).collect();
    let noise: Vec<_> = runs.iter().map(|cost| cost.noise_ms).collect();
    let mut errors = BTreeMap::<String, u64>::new();
    for (error, count) in runs.iter().flat_map(|cost| &cost.errors) {
        *errors.entry(error.clone()).or_default() += count;
    }
    Some(Cost {
        act: first.act.clone(),
        per_second: first.per_second,
        count: runs.iter().map(|cost| cost.count).sum(),
        errors,
        latency: runs[median_index(&p99)?].latency,
        ms: median_of_each(runs.iter().map(|cost| &cost.ms)),
        all_ms: median(&all)?,
        noise_ms: median(&noise)?,
        spread: Spread::of("all_ms", &all),
    })
}

fn median_idle<'a>(idle: impl Iterator<Item = &'a IdleCost>) -> Vec<IdleCost> {
    let median_of_name = |of_name: &Vec<&IdleCost>| {
        let percent: Vec<_> = of_name.iter().map(|idle| idle.percent_of_core).collect();
        Some(IdleCost { name: of_name.first()?.name.clone(), percent_of_core: median(&percent)? })
    };
    grouped(idle, |idle| idle.name.clone()).iter().filter_map(median_of_name).collect()
}

fn median_streams(runs: &[&StreamCost]) -> Option<StreamCost> {
    let open: Vec<_> = runs.iter().map(|cost| cost.streams as f64).collect();
    Some(StreamCost {
        streams: median(&open)? as u64,
        kb_each: median_of_each(runs.iter().map(|cost| &cost.kb_each)),
        idle: median_idle(runs.iter().flat_map(|cost| &cost.idle)),
        deliveries: all_deliveries(runs.iter().map(|cost| cost.deliveries)),
    })
}

/// None of the runs may hide that streams did not come back.
fn median_reconnect(runs: &[&Reconnect]) -> Option<Reconnect> {
    if runs.is_empty() {
        return None;
    }
    let seconds: Option<Vec<f64>> = runs.iter().map(|run| run.all_back_seconds).collect();
    Some(Reconnect {
        streams: runs.iter().map(|run| run.streams).sum(),
        cut: runs.iter().map(|run| run.cut).sum(),
        back: runs.iter().map(|run| run.back).sum(),
        all_back_seconds: median(&seconds.unwrap_or_default()),
        resyncs: runs.iter().map(|run| run.resyncs).sum(),
        deliveries: all_deliveries(runs.iter().map(|run| run.deliveries)),
    })
}

fn all_deliveries(runs: impl Iterator<Item = Delivered>) -> Delivered {
    runs.fold(Delivered::default(), |sum, run| Delivered {
        expected: sum.expected + run.expected,
        received: sum.received + run.received,
        lost: sum.lost + run.lost,
        double: sum.double + run.double,
        foreign: sum.foreign + run.foreign,
    })
}

fn median_of_each<'a>(maps: impl Iterator<Item = &'a BTreeMap<String, f64>>) -> BTreeMap<String, f64> {
    let entries: Vec<_> = maps.flatten().collect();
    let median_of_name = |of_name: Vec<&(&String, &f64)>| {
        let values: Vec<_> = of_name.iter().map(|(_, value)| **value).collect();
        Some((of_name.first()?.0.clone(), median(&values)?))
    };
    grouped(entries.iter(), |(name, _)| *name).into_iter().filter_map(median_of_name).collect()
}

fn median(values: &[f64]) -> Option<f64> {
    median_index(values).map(|index| values[index])
}

/// The place of the median. Of an even number of values it is the lower one of the two in the middle, because a run is shown as
/// it was and no mean of two.
fn median_index(values: &[f64]) -> Option<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|one, other| values[*one].total_cmp(&values[*other]));
    order.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Latency, Total};

    fn run(scenario: &str, load: Load, per_second: f64, p99_ms: f64) -> Measured {
        Measured {
            scenario: scenario.into(),
            load,
            seconds: 1.0,
            observed_seconds: 1.0,
            total: Total { count: 1, per_second, p99_ms },
            spread: None,
            acts: Vec::new(),
            unfinished: 0,
            processes: Vec::new(),
            timeline: Vec::new(),
        }
    }

    fn closed(scenario: &str, per_second: f64) -> Measured {
        run(scenario, Load::Closed { clients: 50 }, per_second, 1.0)
    }

    fn results(measured: Vec<Measured>) -> Results {
        Results { measured, ..Results::default() }
    }

    fn cost(chat: f64, mysql: f64) -> Results {
        let ms = [("chat".to_owned(), chat), ("mysql".to_owned(), mysql)].into();
        let errors = [("503".to_owned(), 1)].into();
        let (act, latency, all_ms, noise_ms) = ("send".into(), Latency::default(), chat + mysql, 0.1);
        let cost = Cost { act, per_second: 30.0, count: 10, errors, latency, ms, all_ms, noise_ms, spread: None };
        Results { costs: vec![cost], ..Results::default() }
    }

    #[test]
    fn the_median_of_an_even_number_is_the_lower_one_of_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.0));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_closed_loop_is_the_run_with_the_median_rate() {
        let runs = [900.0, 1_500.0, 1_200.0].map(|rate| results(vec![closed("health", 5.0), closed("send", rate)]));
        let median = median_of(&runs);
        assert_eq!(median.measured[1].total.per_second, 1_200.0);
        let spread = median.measured[1].spread.as_ref().unwrap();
        assert_eq!((spread.figure, spread.runs, spread.lowest, spread.highest), ("per_second", 3, 900.0, 1_500.0));
    }

    #[test]
    fn an_open_loop_is_the_run_with_the_median_p99() {
        let open = |p99| run("send", Load::Open { per_second: 30.0, clients: 50 }, 30.0, p99);
        let median = median_of(&[9.0, 5.0, 7.0].map(|p99| results(vec![open(p99)])));
        assert_eq!((median.measured[0].total.p99_ms, median.measured[0].key()), (7.0, "p99_ms"));
    }

    #[test]
    fn the_streams_of_several_runs_are_added_and_without_any_there_is_no_result() {
        let reconnect = || Reconnect {
            streams: 30,
            cut: 20,
            back: 19,
            all_back_seconds: None,
            resyncs: 1,
            deliveries: Delivered::default(),
        };
        let [one, other] = [reconnect(), reconnect()];
        let both = median_reconnect(&[&one, &other]).unwrap();
        assert_eq!((both.streams, both.cut, both.back, both.resyncs), (60, 40, 38, 2));
        assert!(median_reconnect(&[]).is_none() && median_streams(&[]).is_none());
    }

    #[test]
    fn a_run_without_a_success_is_not_the_fastest() {
        let open = |count, p99_ms| {
            let run = run("send", Load::Open { per_second: 30.0, clients: 50 }, 30.0, p99_ms);
            results(vec![Measured { total: Total { count, ..run.total }, ..run }])
        };
        let median = median_of(&[open(0, 0.0), open(9, 5.0), open(9, 9.0), open(9, 7.0)]);
        assert_eq!(median.measured[0].total.p99_ms, 7.0);
        assert_eq!(median_of(&[open(0, 0.0)]).measured[0].total.count, 0);
    }

    #[test]
    fn a_run_that_was_interrupted_counts_where_it_has_results() {
        let whole = || results(vec![closed("health", 5.0), closed("send", 3.0)]);
        let median = median_of(&[whole(), results(vec![closed("health", 7.0)])]);
        assert_eq!(median.measured[0].spread.as_ref().unwrap().runs, 2);
        assert!(median.measured[1].spread.is_none(), "one run has no spread");
    }

    #[test]
    fn each_value_of_a_cost_is_a_median_and_counts_are_added() {
        let median = median_of(&[cost(1.0, 9.0), cost(2.0, 1.0), cost(3.0, 5.0)]);
        let cost = &median.costs[0];
        assert_eq!((cost.ms["chat"], cost.ms["mysql"], cost.all_ms), (2.0, 5.0, 8.0));
        assert_eq!((cost.count, cost.errors["503"]), (30, 3));
        let spread = cost.spread.as_ref().unwrap();
        assert_eq!((spread.lowest, spread.highest), (3.0, 10.0));
    }

    #[test]
    fn ratios_are_those_of_one_run_and_need_the_same_clients() {
        let of = |health, send| {
            let other = run("streams: open", Load::Closed { clients: 64 }, 9.0, 1.0);
            results(vec![closed("send", send), closed("health", health), other])
        };
        let ratios = ratios(&[of(100.0, 10.0), of(50.0, 10.0), of(100.0, 30.0)]);
        assert_eq!(ratios.len(), 1);
        assert_eq!((ratios[0].scenario.as_str(), ratios[0].to_health), ("send", 0.2));
        let spread = ratios[0].spread.as_ref().unwrap();
        assert_eq!((spread.lowest, spread.highest), (0.1, 0.3));
    }

    #[test]
    fn without_health_there_are_no_ratios() {
        assert!(ratios(&[results(vec![closed("send", 5.0)])]).is_empty());
        assert!(ratios(&[results(vec![closed("send", 5.0), closed("health", 0.0)])]).is_empty());
    }
}
