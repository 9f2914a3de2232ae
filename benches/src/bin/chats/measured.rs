//! What one server did in one round.

use std::time::Duration;

use causerie_benches::{Answer, quantile};
use serde::Serialize;

/// Figures of a round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    /// From the first question to the end of the last answer.
    pub(crate) seconds: f64,
    pub(crate) tokens: u64,
    /// Of all answers together.
    pub(crate) tokens_per_second: f64,
    /// Milliseconds from a question to the first piece of its answer.
    pub(crate) first_token_ms: Waits,
    /// The same of the first questions alone, which all come at the same moment to a server that is idle.
    pub(crate) first_questions_ms: Waits,
}

/// Waiting times in short.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Waits {
    pub(crate) median: f64,
    pub(crate) p95: f64,
    pub(crate) longest: f64,
}

impl Waits {
    fn of(answers: impl Iterator<Item = Answer>) -> Waits {
        let mut waits: Vec<f64> = answers.map(|answer| answer.first.as_secs_f64() * 1e3).collect();
        waits.sort_by(f64::total_cmp);
        Waits { median: quantile(&waits, 0.5), p95: quantile(&waits, 0.95), longest: quantile(&waits, 1.0) }
    }
}

impl Measured {
    /// Of the answers that each of the people got, in order.
    pub(crate) fn of(time: Duration, answers: &[Vec<Answer>]) -> Measured {
        let seconds = time.as_secs_f64();
        let all = || answers.iter().flatten().copied();
        let tokens = all().map(|answer| answer.tokens).sum::<u64>();
        Measured {
            seconds,
            tokens,
            tokens_per_second: tokens as f64 / seconds,
            first_token_ms: Waits::of(all()),
            first_questions_ms: Waits::of(answers.iter().filter_map(|of_one| of_one.first().copied())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_answers() {
        let answer = |ms, tokens| Answer { first: Duration::from_millis(ms), tokens };
        let answers = [vec![answer(10, 100), answer(50, 100)], vec![answer(30, 100)]];
        let measured = Measured::of(Duration::from_secs(2), &answers);
        assert_eq!((measured.tokens, measured.tokens_per_second), (300, 150.0));
        let Waits { median, p95, longest } = measured.first_token_ms;
        assert_eq!((median.round(), p95.round(), longest.round()), (30.0, 50.0, 50.0));
        assert_eq!(measured.first_questions_ms.longest.round(), 30.0);
    }
}
