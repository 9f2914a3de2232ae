//! Numbers for people.

/// A size in bytes, in decimal units as file managers and download pages have them: `98.4 MB`.
pub(crate) fn size(bytes: u64) -> String {
    scaled(bytes as f64, 1000.0, &["B", "kB", "MB", "GB", "TB"])
}

/// A count of parameters as model names have it: `135M`, `1.2B`.
pub(crate) fn parameters(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{}k", count / 1000),
        1_000_000..1_000_000_000 => format!("{:.0}M", count as f64 / 1e6),
        _ => format!("{:.1}B", count as f64 / 1e9),
    }
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // Where rounding would show 1000.0, the next unit is meant.
    while value >= step - 0.05 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0} {}", units[0]) } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (98_362_432, "98.4 MB"),
            (999_960_000, "1.0 GB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (count, text) in [(5_000, "5k"), (134_515_008, "135M"), (1_235_814_432, "1.2B")] {
            assert_eq!(parameters(count), text);
        }
    }
}
