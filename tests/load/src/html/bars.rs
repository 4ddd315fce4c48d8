//! Horizontal bars, each of one part or of several.

use std::fmt::Write;

use super::escape::escape;
use super::lines::{color, legend};

/// Pixels.
const WIDTH: f64 = 720.0;
const NAMES: f64 = 170.0;
const VALUES: f64 = 130.0;
const ROW: f64 = 24.0;
const THICKNESS: f64 = 15.0;

pub struct Bar {
    pub name: String,
    /// The text at the end.
    pub value: String,
    /// One for each name of the legend, in its order. Negative parts are not drawn.
    pub parts: Vec<f64>,
}

/// Bars on one scale, with a legend if their parts have several names.
pub fn bars(title: &str, names: &[&str], bars: &[Bar]) -> String {
    let title = escape(title);
    let length = |bar: &Bar| bar.parts.iter().copied().filter(|part| drawn(*part)).sum::<f64>();
    let longest = bars.iter().map(length).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - NAMES - VALUES) / longest;
    let height = ROW * bars.len() as f64;
    let mut svg = format!(
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">"
    );
    for (row, bar) in bars.iter().enumerate() {
        let (top, mut at) = (row as f64 * ROW, NAMES);
        let text = top + 15.0;
        let _ =
            write!(svg, "<text x=\"{:.1}\" y=\"{text}\" text-anchor=\"end\">{}</text>", NAMES - 8.0, escape(&bar.name));
        for (index, part) in bar.parts.iter().enumerate().filter(|(_, part)| drawn(**part)) {
            let (width, name) = (part * scale, names.get(index).copied().unwrap_or_default());
            let _ = write!(
                svg,
                "<rect x=\"{at:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{THICKNESS}\" fill=\"{}\"><title>{}</title></rect>",
                top + 3.0,
                color(index),
                escape(name)
            );
            at += width;
        }
        let _ = write!(svg, "<text x=\"{:.1}\" y=\"{text}\">{}</text>", at + 6.0, escape(&bar.value));
    }
    svg.push_str("</svg>");
    svg.push_str(&legend(names.iter().copied()));
    svg.push_str("</figure>");
    svg
}

fn drawn(part: f64) -> bool {
    part.is_finite() && part > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_takes_the_whole_width_and_negative_parts_none() {
        let bar = |parts: &[f64]| Bar { name: "send".into(), value: "3 ms".into(), parts: parts.into() };
        let svg = bars("cost", &["chat", "mysql"], &[bar(&[1.0, 3.0]), bar(&[2.0, -0.1])]);
        let widths: Vec<_> = svg.split("width=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(widths, ["105.0", "315.0", "210.0"]);
    }

    #[test]
    fn bars_without_a_length_are_empty() {
        let svg = bars("cost", &["chat"], &[Bar { name: "<send>".into(), value: "0".into(), parts: vec![0.0] }]);
        assert!(!svg.contains("<rect") && svg.contains("&lt;send&gt;") && !svg.contains("NaN"));
    }
}
