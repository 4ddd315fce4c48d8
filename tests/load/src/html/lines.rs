//! Line plots.

use std::fmt::Write;

use super::axis::Axis;
use super::escape::escape;

/// Pixels of the drawing, which scales with the page, and of its margins for the texts of the axes.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// Distinguishable on white and on black. More series repeat them with dashes.
pub const COLORS: [&str; 10] =
    ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#9c755f", "#b07aa1", "#76b7b2", "#edc948", "#ff9da7", "#8c8c8c"];

/// A line with its name. Points are positions on the axes.
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

pub fn color(index: usize) -> &'static str {
    COLORS[index % COLORS.len()]
}

/// A plot of lines with a legend.
pub fn plot(title: &str, x: &Axis, y: &Axis, series: &[Series]) -> String {
    let title = escape(title);
    let mut svg = format!(
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">"
    );
    svg.push_str(&grid(x, y));
    for (index, series) in series.iter().enumerate() {
        svg.push_str(&line(x, y, series, index));
    }
    svg.push_str("</svg>");
    svg.push_str(&legend(series.iter().map(|series| series.name.as_str())));
    svg.push_str("</figure>");
    svg
}

/// Names with their colours. One name needs none.
pub fn legend<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    if names.len() < 2 {
        return String::new();
    }
    let entry = |(index, name): (usize, &str)| {
        format!("<li><i style=\"background:{}\"></i>{}</li>", color(index), escape(name))
    };
    format!("<ul class=\"legend\">{}</ul>", names.enumerate().map(entry).collect::<String>())
}

fn to_x(axis: &Axis, position: f64) -> f64 {
    LEFT + axis.place(position) * (WIDTH - LEFT - RIGHT)
}

fn to_y(axis: &Axis, position: f64) -> f64 {
    HEIGHT - BOTTOM - axis.place(position) * (HEIGHT - TOP - BOTTOM)
}

fn grid(x: &Axis, y: &Axis) -> String {
    let mut grid = String::new();
    for (position, text) in &x.ticks {
        let (at, bottom) = (to_x(x, *position), HEIGHT - BOTTOM);
        let _ = write!(
            grid,
            "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            escape(text)
        );
    }
    for (position, text) in &y.ticks {
        let (at, right) = (to_y(y, *position), WIDTH - RIGHT);
        let _ = write!(
            grid,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            escape(text)
        );
    }
    let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
    let _ = write!(
        grid,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
         <text transform=\"translate(14 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 8.0,
        escape(&x.label),
        escape(&y.label)
    );
    grid
}

fn line(x: &Axis, y: &Axis, series: &Series, index: usize) -> String {
    let points = series.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
    let points: String = points.map(|(px, py)| format!("{:.1},{:.1} ", to_x(x, *px), to_y(y, *py))).collect();
    let dashes = if index < COLORS.len() { "" } else { " stroke-dasharray=\"4 3\"" };
    format!(
        "<polyline class=\"line\" stroke=\"{}\"{dashes} points=\"{}\"><title>{}</title></polyline>",
        color(index),
        points.trim_end(),
        escape(&series.name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_draws_each_series_within_its_margins() {
        let series =
            |name: &str| Series { name: name.into(), points: vec![(0.0, 0.0), (10.0, 100.0), (5.0, f64::NAN)] };
        let svg =
            plot("rate", &Axis::linear("s", 10.0), &Axis::linear("a second", 100.0), &[series("a"), series("<b>")]);
        assert_eq!(svg.matches("points=\"64.0,216.0 504.0,12.0\"").count(), 2, "{svg}");
        assert!(svg.contains("&lt;b&gt;") && !svg.contains("<b>") && !svg.contains("NaN"));
    }

    #[test]
    fn one_series_has_no_legend() {
        assert_eq!(legend(["a"].into_iter()), "");
        assert!(legend(["a", "b"].into_iter()).contains("<li>"));
    }
}
