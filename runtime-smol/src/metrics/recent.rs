//! The last of something, for a look at how it goes now.

use serde_json::{Value, json};

/// How many are kept: some seconds of a busy server.
const KEPT: usize = 256;

/// The last [`KEPT`] durations, in seconds.
#[derive(Debug, Default)]
pub(super) struct Recent {
    kept: Vec<f32>,
    next: usize,
}

impl Recent {
    /// One more; the oldest is forgotten when there are too many.
    pub(super) fn push(&mut self, seconds: f64) {
        let seconds = seconds as f32;
        if self.kept.len() < KEPT {
            self.kept.push(seconds);
        } else {
            self.kept[self.next] = seconds;
        }
        self.next = (self.next + 1) % KEPT;
    }

    /// The median and the 95th percentile in milliseconds; nulls of nothing.
    pub(super) fn quantiles(&self) -> Value {
        let mut sorted = self.kept.clone();
        sorted.sort_by(f32::total_cmp);
        let at = |part: f64| {
            let place = (sorted.len().saturating_sub(1) as f64 * part).round() as usize;
            sorted.get(place).map(|seconds| (f64::from(*seconds) * 1e5).round() / 100.0)
        };
        json!({ "median": at(0.5), "p95": at(0.95) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut recent = Recent::default();
        assert_eq!(recent.quantiles(), json!({ "median": null, "p95": null }));
        recent.push(9.0);
        for _ in 0..KEPT {
            recent.push(0.002);
        }
        assert_eq!(recent.quantiles(), json!({ "median": 2.0, "p95": 2.0 }));
    }
}
