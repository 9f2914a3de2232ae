//! Texts whose logits a float32 forward pass has computed, and how near an engine comes to them.
//!
//! The files are those of the engine's own tests: for each position the logarithm of the sum of exponentials over the
//! vocabulary, and the 16 largest logits.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::job::Score;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../inference/tests/golden");

/// A text and the truth about it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Golden {
    model: String,
    pub(crate) tokens: Vec<u32>,
    positions: Vec<Position>,
}

/// The truth about what comes after a token.
#[derive(Clone, Debug, Deserialize)]
struct Position {
    logsumexp: f64,
    /// Tokens and their logits, the largest first.
    top: Vec<(u32, f64)>,
}

/// How near an engine comes.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Accuracy {
    /// Mean Kullback-Leibler divergence from the truth, over the 16 likeliest tokens and all others as one.
    pub(crate) divergence: f64,
    /// The part of positions in which the likeliest token is the true one.
    pub(crate) agreement: f64,
    pub(crate) positions: usize,
}

impl Golden {
    /// The texts for a model, the shortest first: none if there are no files for it.
    ///
    /// # Errors
    /// If a file cannot be read, or is not what it should be.
    pub(crate) fn of(model: &Path) -> io::Result<Vec<Golden>> {
        let wanted = model.file_name().map(|name| letters(&name.to_string_lossy()));
        let mut found: Vec<Golden> = Vec::new();
        for entry in std::fs::read_dir(DIRECTORY)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("logits-") && name.ends_with(".json") {
                let golden: Golden = serde_json::from_slice(&std::fs::read(&path)?)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{name}: {error}")))?;
                if wanted.as_ref() == Some(&letters(&golden.model)) {
                    found.push(golden);
                }
            }
        }
        found.sort_by_key(|golden| golden.tokens.len());
        Ok(found)
    }

    /// The tokens whose logits are known, by position.
    pub(crate) fn wanted(&self) -> Vec<Vec<u32>> {
        self.positions.iter().map(|position| position.top.iter().map(|&(token, _)| token).collect()).collect()
    }
}

impl Accuracy {
    /// Compares what an engine gave for some texts with the truth. `None` if it did not give every position.
    pub(crate) fn of(texts: &[Golden], scores: &[Vec<Score>]) -> Option<Accuracy> {
        let (mut divergence, mut agreed, mut positions) = (0.0, 0u32, 0usize);
        if texts.len() != scores.len() {
            return None;
        }
        for (text, scores) in texts.iter().zip(scores) {
            if text.positions.len() != scores.len() {
                return None;
            }
            for (truth, score) in text.positions.iter().zip(scores) {
                divergence += truth.divergence(score);
                agreed += u32::from(truth.top.first().is_some_and(|&(token, _)| token == score.likeliest));
                positions += 1;
            }
        }
        let mean = |sum: f64| sum / positions as f64;
        (positions > 0).then(|| Accuracy { divergence: mean(divergence), agreement: mean(agreed.into()), positions })
    }
}

impl Position {
    /// Kullback-Leibler divergence of what an engine gave, over the tokens that are known and the rest as one.
    fn divergence(&self, score: &Score) -> f64 {
        /// Probabilities of the rest below this are rounding.
        const NOTHING: f64 = 1e-9;
        let (mut sum, mut p_rest, mut q_rest) = (0.0, 1.0, 1.0);
        for (&(_, truth), logit) in self.top.iter().zip(&score.logits) {
            let (log_p, log_q) = (truth - self.logsumexp, logit - score.logsumexp);
            sum += log_p.exp() * (log_p - log_q);
            (p_rest, q_rest) = (p_rest - log_p.exp(), q_rest - log_q.exp());
        }
        if p_rest > NOTHING { sum + p_rest * (p_rest / q_rest.max(NOTHING)).ln() } else { sum }
    }
}

/// A file's name without what people write in one way or another.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tops: &[[(u32, f64); 2]], logsumexp: f64) -> Golden {
        let positions = tops.iter().map(|top| Position { logsumexp, top: top.to_vec() }).collect();
        Golden { model: "m".to_owned(), tokens: vec![1; tops.len()], positions }
    }

    #[test]
    fn the_same_logits_are_no_distance() {
        let half = 0.5f64.ln();
        let texts = [text(&[[(7, half), (9, half - 1.0)]], 0.0)];
        // Logits that are all higher by 3 mean the same.
        let score = Score { logsumexp: 3.0, logits: vec![half + 3.0, half + 2.0], likeliest: 7 };
        let accuracy = Accuracy::of(&texts, &[vec![score]]).unwrap();
        assert!(accuracy.divergence.abs() < 1e-12, "{accuracy:?}");
        assert_eq!((accuracy.agreement, accuracy.positions), (1.0, 1));
    }

    #[test]
    fn a_known_divergence_comes_out() {
        // Truth: 0.5, 0.25 and a rest of 0.25; given: 0.25, 0.25 and a rest of 0.5.
        let texts = [text(&[[(7, 0.5f64.ln()), (9, 0.25f64.ln())]; 2], 0.0)];
        let score = |likeliest| Score { logsumexp: 0.0, logits: vec![0.25f64.ln(); 2], likeliest };
        let accuracy = Accuracy::of(&texts, &[vec![score(7), score(9)]]).unwrap();
        let expected = 0.5 * 2f64.ln() - 0.25 * 2f64.ln();
        assert!((accuracy.divergence - expected).abs() < 1e-12, "{accuracy:?}");
        assert_eq!((accuracy.agreement, accuracy.positions), (0.5, 2));
        assert_eq!(Accuracy::of(&texts, &[vec![score(7)]]), None);
    }

    #[test]
    fn texts_are_found_by_the_models_name() {
        let texts = Golden::of(Path::new("/anywhere/SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap();
        assert!(!texts.is_empty());
        assert!(texts.iter().all(|text| text.wanted().len() == text.tokens.len()));
        assert!(texts.is_sorted_by_key(|text| text.tokens.len()));
        assert!(Golden::of(Path::new("another.gguf")).unwrap().is_empty());
    }
}
