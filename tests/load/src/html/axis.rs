//! Axes: where their ticks are.

/// The range of an axis and its ticks, in the units of the plotted positions.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub label: String,
    pub min: f64,
    pub max: f64,
    /// Positions and texts, in ascending order.
    pub ticks: Vec<(f64, String)>,
}

/// About so many ticks on an axis.
const TICKS: f64 = 5.0;

/// The quantile of 1 is drawn here, in nines: 99.999 %.
const MAX_NINES: f64 = 5.0;

impl Axis {
    /// From zero to a round value that is not less than `max`.
    pub fn linear(label: &str, max: f64) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let step = round_up(max / TICKS);
        let count = (max / step).ceil() as u32;
        let ticks = (0..=count).map(|n| (f64::from(n) * step, label_of(f64::from(n) * step))).collect();
        Self { label: label.into(), min: 0.0, max: f64::from(count) * step, ticks }
    }

    /// Powers of ten around positive values. Positions are logarithms.
    pub fn logarithmic(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values.map(log).fold((f64::MAX, f64::MIN), |(low, high), log| (low.min(log), high.max(log)));
        let (low, high) = if low > high { (0.0, 1.0) } else { (low.floor(), high.ceil().max(low.floor() + 1.0)) };
        let ticks = (low as i32..=high as i32).map(|power| (f64::from(power), label_of(10_f64.powi(power)))).collect();
        Self { label: label.into(), min: low, max: high, ticks }
    }

    /// Quantiles by their number of nines, so that 99 % and 99.9 % are as far apart as 90 % and 99 %.
    pub fn quantiles() -> Self {
        let texts = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "max"];
        let ticks = texts.iter().enumerate().map(|(nines, text)| (nines as f64, (*text).to_owned())).collect();
        Self { label: "part of the acts that were not slower".into(), min: 0.0, max: MAX_NINES, ticks }
    }

    /// The position of a value between 0 at the start of the axis and 1 at its end.
    pub fn place(&self, position: f64) -> f64 {
        ((position - self.min) / (self.max - self.min)).clamp(0.0, 1.0)
    }
}

/// The position of a quantile on its axis.
pub fn nines(quantile: f64) -> f64 {
    (-(1.0 - quantile).max(1e-9).log10()).clamp(0.0, MAX_NINES)
}

/// The position of a value on a logarithmic axis. Values below a microsecond, in milliseconds, count as one.
pub fn log(value: f64) -> f64 {
    value.max(0.001).log10()
}

/// The next value of 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= value * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

fn label_of(value: f64) -> String {
    // A sum of steps has digits that no one wants to read.
    let rounded = (value * 1e6).round() / 1e6;
    format!("{rounded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_the_last_is_not_less_than_the_greatest_value() {
        assert_eq!(texts(&Axis::linear("", 1430.0)), ["0", "500", "1000", "1500"]);
        assert_eq!(texts(&Axis::linear("", 0.3)), ["0", "0.1", "0.2", "0.3"]);
        assert_eq!(Axis::linear("", 0.0).max, 1.0);
        assert!(Axis::linear("", f64::NAN).max.is_finite());
    }

    #[test]
    fn a_logarithmic_axis_has_the_powers_of_ten_around_its_values() {
        assert_eq!(texts(&Axis::logarithmic("", [0.4, 80.0].into_iter())), ["0.1", "1", "10", "100"]);
        assert_eq!(texts(&Axis::logarithmic("", std::iter::empty())), ["1", "10"]);
        assert_eq!(texts(&Axis::logarithmic("", [10.0].into_iter())), ["10", "100"]);
    }

    #[test]
    fn each_nine_of_a_quantile_is_as_wide_as_the_last_one() {
        let places = [0.0, 0.9, 0.99, 0.999, 1.0].map(|quantile| (nines(quantile) * 1e6).round() / 1e6);
        assert_eq!(places, [0.0, 1.0, 2.0, 3.0, 5.0]);
    }

    #[test]
    fn places_are_within_the_axis() {
        let axis = Axis::linear("", 10.0);
        assert_eq!([-5.0, 5.0, 50.0].map(|position| axis.place(position)), [0.0, 0.5, 1.0]);
    }
}
