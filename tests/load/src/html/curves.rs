//! The plots and the table of a curve of the scenario `growth`.

use std::collections::BTreeSet;

use super::axis::{Axis, log};
use super::escape::escape;
use super::lines::{Series, plot};
use super::table::table;
use crate::report::{Cost, Curve, GrowthPoint, figure};
use crate::system::Reading;

/// A figure at each size, by its name.
type Figures = Vec<(String, Vec<(f64, f64)>)>;

/// The section of a curve. The axis of sizes is logarithmic.
pub fn curve(curve: &Curve) -> String {
    let of_acts = |value: &dyn Fn(&Cost) -> f64, suffix: &str| {
        figures(curve, &|point| point.acts.iter().map(|act| (format!("{}{suffix}", act.act), value(act))).collect())
    };
    let latency = [of_acts(&|act| act.latency.p50_ms, ", p50"), of_acts(&|act| act.latency.p99_ms, ", p99")].concat();
    let cpu = figures(curve, &|point| {
        let with_cpu = point.acts.iter().filter(|act| !act.ms.is_empty());
        with_cpu.map(|act| (act.act.clone(), act.all_ms)).collect()
    });
    let memory = figures(curve, &|point| {
        let of_system = point.kb_each.iter().filter(|(name, _)| Reading::is_of_system(name));
        of_system.map(|(name, kb)| (name.clone(), *kb)).collect()
    });
    let idle = figures(curve, &|point| {
        let of_system = point.idle.iter().filter(|idle| Reading::is_of_system(&idle.name));
        of_system.map(|idle| (idle.name.clone(), idle.percent_of_core)).collect()
    });
    format!(
        "<h2>Growth of {}</h2>{}<div class=\"plots\">{}{}{}{}</div>",
        escape(curve.dimension),
        sizes(curve),
        plotted(curve, "Latency", "ms", latency),
        plotted(curve, "CPU time of an act", "ms", cpu),
        plotted(curve, "Memory of each", "KB", memory),
        plotted(curve, "Idle cost", "% of a core", idle)
    )
}

fn sizes(curve: &Curve) -> String {
    let rows = curve.points.iter().flat_map(|point| point.acts.iter().map(move |act| (point.size, act)));
    let rows = rows.map(|(size, act)| {
        let figures = [act.latency.p50_ms, act.latency.p99_ms, act.all_ms, act.noise_ms].map(figure);
        let errors = act.errors.values().sum::<u64>().to_string();
        [size.to_string(), act.act.clone(), act.count.to_string()].into_iter().chain(figures).chain([errors]).collect()
    });
    table(&[curve.dimension, "act", "count", "p50 ms", "p99 ms", "CPU ms", "± noise", "errors"], rows)
}

/// The figures of all points by their names, in the order of the names.
fn figures(curve: &Curve, of_point: &dyn Fn(&GrowthPoint) -> Vec<(String, f64)>) -> Figures {
    let all: Vec<_> = curve.points.iter().map(|point| (point.size as f64, of_point(point))).collect();
    let names: BTreeSet<_> = all.iter().flat_map(|(_, figures)| figures.iter().map(|(name, _)| name.clone())).collect();
    let of_name = |name: String| {
        let values = all.iter().flat_map(|(size, figures)| figures.iter().map(move |(of, value)| (*size, of, *value)));
        let values = values.filter(|(_, of, _)| **of == name).map(|(size, _, value)| (size, value)).collect();
        (name, values)
    };
    names.into_iter().map(of_name).collect()
}

fn plotted(curve: &Curve, title: &str, unit: &str, figures: Figures) -> String {
    let sizes = curve.points.iter().map(|point| point.size as f64);
    let highest = figures.iter().flat_map(|(_, points)| points).map(|(_, value)| *value).fold(0.0, f64::max);
    let series = figures.into_iter().map(|(name, points)| Series {
        name,
        points: points.into_iter().map(|(size, value)| (log(size), value)).collect(),
    });
    let series: Vec<_> = series.collect();
    let title = format!("{title} by the number of {}", curve.dimension);
    let (x, y) = (Axis::logarithmic(curve.dimension, sizes), Axis::linear(unit, highest));
    if series.is_empty() { String::new() } else { plot(&title, &x, &y, &series) }
}
