//! Figures in short, and how they are written.

use serde::Serialize;

/// Several figures in short.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The one in the middle.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// `None` of nothing. What is no number (nothing in the time of nothing) is left out.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut values: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let upper = values[values.len() / 2];
        let median = if values.len() % 2 == 1 { upper } else { f64::midpoint(values[values.len() / 2 - 1], upper) };
        Some(Spread { median, least, most })
    }
}

/// A number with its thousands apart, as in "12,345.6".
#[must_use]
pub fn number(value: f64, digits: usize) -> String {
    let plain = format!("{value:.digits$}");
    let whole = plain.find('.').unwrap_or(plain.len());
    let mut text = String::new();
    for (at, c) in plain.char_indices() {
        if at > 0 && at < whole && (whole - at).is_multiple_of(3) && plain.as_bytes()[at - 1].is_ascii_digit() {
            text.push(',');
        }
        text.push(c);
    }
    text
}

/// The value below which this part of all values lies; of nothing 0. The values are sorted.
#[must_use]
pub fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(0.0)
}

/// (Σx)² / (n · Σx²): 1 when all got the same, 1/n when one got all (R. Jain, D. Chiu, W. Hawe, "A Quantitative Measure
/// of Fairness and Discrimination", 1984); of nothing 0.
#[must_use]
pub fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) = (shares.iter().sum::<f64>(), shares.iter().map(|share| share * share).sum::<f64>());
    if squares > 0.0 { sum * sum / (shares.len() as f64 * squares) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values() {
        assert_eq!(quantile(&[], 0.5), 0.0);
        let sorted = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!([0.0, 0.5, 0.95, 1.0].map(|part| quantile(&sorted, part)), [1.0, 3.0, 5.0, 5.0]);
    }

    #[test]
    fn jain_s_index() {
        let check = |shares: &[f64], index: f64| assert!((jain(shares) - index).abs() < 1e-9, "{shares:?}");
        check(&[3.0, 3.0, 3.0, 3.0], 1.0);
        check(&[8.0, 0.0, 0.0, 0.0], 0.25);
        check(&[1.0, 1.0, 0.0, 0.0], 0.5);
        check(&[0.0, 0.0], 0.0);
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(&[3.0, f64::NAN, -f64::NAN, 1.0, 2.0]), Spread::of(&[3.0, 1.0, 2.0]));
        assert_eq!(Spread::of(&[f64::NAN]), None);
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        for (value, digits, text) in [
            (0.0, 0, "0"),
            (999.96, 1, "1,000.0"),
            (1_234_567.0, 0, "1,234,567"),
            (12.345, 2, "12.35"),
            (-1_000.0, 0, "-1,000"),
            (-100.0, 0, "-100"),
        ] {
            assert_eq!(number(value, digits), text);
        }
    }
}
