//! What can be said about sampling, parsed into a type that holds only values with a meaning.

use std::fmt;

use crate::gguf::Metadata;

/// The longest window of tokens that penalties look back on, which bounds their memory and work per token.
pub const MAX_REPETITION_WINDOW: u32 = 4096;

/// The highest temperature: above it the text of every model is noise.
pub const MAX_TEMPERATURE: f32 = 5.0;

/// The most tokens whose logits a request may shift, as in OpenAI's interface: each costs an addition a token.
pub const MAX_LOGIT_BIAS: usize = 300;

/// The most tokens of which each step tells the probability besides the one drawn, as in OpenAI's interface.
pub const MAX_LOGPROBS: u32 = 20;

/// From the least to the greatest value.
type Range = std::ops::RangeInclusive<f32>;

const TEMPERATURE: Range = 0.0..=MAX_TEMPERATURE;
const PROBABILITY: Range = 0.0..=1.0;
const REPETITION_PENALTY: Range = 0.1..=10.0;
const PENALTY: Range = -2.0..=2.0;
const BIAS: Range = -100.0..=100.0;

/// What a request, a model file or a command line says about sampling: each `None` leaves the default.
///
/// Give it to [`SamplingOptions::with`], which checks it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SamplingOverrides {
    /// 0 (greedy) to [`MAX_TEMPERATURE`].
    pub temperature: Option<f32>,
    /// How many of the likeliest tokens stay; 0 for all.
    pub top_k: Option<u32>,
    /// 0 to 1: the likeliest tokens stay that together have this probability; 1 for all.
    pub top_p: Option<f32>,
    /// 0 to 1: tokens stay that have at least this part of the likeliest one's probability; 0 for all.
    pub min_p: Option<f32>,
    /// 0.1 to 10: divides positive and multiplies negative logits of tokens in the window; 1 changes nothing.
    pub repetition_penalty: Option<f32>,
    /// How many tokens back the penalties look; at most [`MAX_REPETITION_WINDOW`].
    pub repetition_window: Option<u32>,
    /// -2 to 2: taken from the logit of every token in the window; 0 changes nothing.
    pub presence_penalty: Option<f32>,
    /// -2 to 2: taken from a token's logit once for each time that it stands in the window; 0 changes nothing.
    pub frequency_penalty: Option<f32>,
    /// Tokens and what is added to their logits, -100 to 100; at most [`MAX_LOGIT_BIAS`]. A token that stands there twice
    /// gets both. -100 forbids a token in effect, 100 enforces it.
    pub logit_bias: Option<Vec<(u32, f32)>>,
    /// Of how many of the likeliest tokens each step tells the probability, besides the one drawn; at most
    /// [`MAX_LOGPROBS`]. It takes the whole vocabulary's logits, and a pass over them.
    pub logprobs: Option<u32>,
    /// The same seed, prompt and options give the same text.
    pub seed: Option<u64>,
}

/// How the next token is chosen. Every value is in its range: see [`SamplingOverrides`] for what they mean.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingOptions {
    temperature: f32,
    top_k: u32,
    top_p: f32,
    min_p: f32,
    repetition_penalty: f32,
    repetition_window: u32,
    presence_penalty: f32,
    frequency_penalty: f32,
    logit_bias: Vec<(u32, f32)>,
    logprobs: Option<u32>,
    seed: Option<u64>,
}

impl Default for SamplingOptions {
    /// What suits small instruct models. Temperature and top-p are those of SmolLM2's model card, top-k is llama.cpp's.
    /// The penalty was tried on fourteen prompts with SmolLM2-135M: with none, two answers ended in a loop; from 1.08 on
    /// the model could no longer count to twenty; 1.05 over 256 tokens does neither.
    fn default() -> Self {
        Self {
            temperature: 0.2,
            top_k: 40,
            top_p: 0.9,
            min_p: 0.0,
            repetition_penalty: 1.05,
            repetition_window: 256,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            logprobs: None,
            seed: None,
        }
    }
}

impl SamplingOverrides {
    /// What a model file recommends: llama.cpp's `general.sampling.*` keys. A value out of its range is passed over, as
    /// if it were not there: a bad recommendation is no reason not to run a model.
    pub fn from_metadata(metadata: &Metadata) -> Self {
        let key = |name: &str| format!("general.sampling.{name}");
        let within = |name, range: Range| metadata.f32(&key(name)).filter(|value| range.contains(value));
        Self {
            temperature: within("temp", TEMPERATURE),
            top_k: metadata.u32(&key("top_k")),
            top_p: within("top_p", PROBABILITY),
            min_p: within("min_p", PROBABILITY),
            repetition_penalty: within("penalty_repeat", REPETITION_PENALTY),
            repetition_window: metadata.u32(&key("penalty_last_n")).map(|n| n.min(MAX_REPETITION_WINDOW)),
            ..Self::default()
        }
    }
}

impl SamplingOptions {
    /// The defaults, with what a model file recommends in their place.
    pub fn from_metadata(metadata: &Metadata) -> Self {
        let recommended = SamplingOverrides::from_metadata(metadata);
        Self::default().with(&recommended).expect("what is out of range was passed over")
    }

    /// These options with what `overrides` says in their place.
    ///
    /// # Errors
    /// When a value is out of its range or no number; the first such value is named.
    ///
    /// ```
    /// use causerie_inference::sampler::{SamplingOptions, SamplingOverrides};
    ///
    /// let hot = SamplingOverrides { temperature: Some(50.0), ..Default::default() };
    /// let error = SamplingOptions::default().with(&hot).unwrap_err();
    /// assert_eq!(error.to_string(), "temperature is 50, it must be from 0 to 5");
    /// ```
    pub fn with(mut self, overrides: &SamplingOverrides) -> Result<Self, SamplingError> {
        let o = overrides;
        set(&mut self.temperature, o.temperature, "temperature", TEMPERATURE)?;
        set(&mut self.top_p, o.top_p, "top_p", PROBABILITY)?;
        set(&mut self.min_p, o.min_p, "min_p", PROBABILITY)?;
        set(&mut self.repetition_penalty, o.repetition_penalty, "repetition_penalty", REPETITION_PENALTY)?;
        set(&mut self.presence_penalty, o.presence_penalty, "presence_penalty", PENALTY)?;
        set(&mut self.frequency_penalty, o.frequency_penalty, "frequency_penalty", PENALTY)?;
        if let Some(window) = o.repetition_window {
            self.repetition_window = at_most(window, MAX_REPETITION_WINDOW, "repetition_window")?;
        }
        if let Some(logprobs) = o.logprobs {
            self.logprobs = Some(at_most(logprobs, MAX_LOGPROBS, "logprobs")?);
        }
        if let Some(bias) = &o.logit_bias {
            let count = u32::try_from(bias.len()).unwrap_or(u32::MAX);
            at_most(count, MAX_LOGIT_BIAS as u32, "the number of tokens in logit_bias")?;
            bias.iter().try_for_each(|&(_, bias)| set(&mut 0.0, Some(bias), "logit_bias", BIAS))?;
            self.logit_bias.clone_from(bias);
        }
        self.top_k = o.top_k.unwrap_or(self.top_k);
        self.seed = o.seed.or(self.seed);
        Ok(self)
    }

    /// Divides the logits before the draw; 0 takes the likeliest token.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }

    /// How many of the likeliest tokens stay; 0 for all.
    pub fn top_k(&self) -> u32 {
        self.top_k
    }

    /// The probability that the tokens which stay have together.
    pub fn top_p(&self) -> f32 {
        self.top_p
    }

    /// The least probability of a token that stays, as a part of the likeliest one's.
    pub fn min_p(&self) -> f32 {
        self.min_p
    }

    /// Divides the logits of tokens in the window.
    pub fn repetition_penalty(&self) -> f32 {
        self.repetition_penalty
    }

    /// How many tokens back the penalties look.
    pub fn repetition_window(&self) -> u32 {
        self.repetition_window
    }

    /// Taken from the logits of tokens in the window.
    pub fn presence_penalty(&self) -> f32 {
        self.presence_penalty
    }

    /// Taken from the logits of tokens in the window, times their count.
    pub fn frequency_penalty(&self) -> f32 {
        self.frequency_penalty
    }

    /// Tokens and what is added to their logits.
    pub fn logit_bias(&self) -> &[(u32, f32)] {
        &self.logit_bias
    }

    /// Of how many of the likeliest tokens each step tells the probability; `None` if of none, not even of the one drawn.
    pub fn logprobs(&self) -> Option<u32> {
        self.logprobs
    }

    /// The seed, where one was asked for.
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// Whether the window changes any logit.
    pub(super) fn penalizes(&self) -> bool {
        self.repetition_window > 0
            && (self.repetition_penalty != 1.0 || self.presence_penalty != 0.0 || self.frequency_penalty != 0.0)
    }
}

fn set(field: &mut f32, got: Option<f32>, name: &'static str, range: Range) -> Result<(), SamplingError> {
    let Some(got) = got else { return Ok(()) };
    if !range.contains(&got) {
        // Through text, so that 0.1 in single precision is not shown as 0.10000000149011612.
        let wide = |value: f32| value.to_string().parse().unwrap_or(f64::from(value));
        return Err(SamplingError {
            field: name,
            got: wide(got),
            least: wide(*range.start()),
            most: wide(*range.end()),
        });
    }
    *field = got;
    Ok(())
}

fn at_most(got: u32, most: u32, field: &'static str) -> Result<u32, SamplingError> {
    if got <= most {
        return Ok(got);
    }
    Err(SamplingError { field, got: got.into(), least: 0.0, most: most.into() })
}

/// A value that is out of its range.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingError {
    /// The name of the field, as in the protocol.
    pub field: &'static str,
    /// What was asked for.
    pub got: f64,
    /// The least value allowed.
    pub least: f64,
    /// The greatest value allowed.
    pub most: f64,
}

impl fmt::Display for SamplingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, got, least, most } = self;
        write!(f, "{field} is {got}, it must be from {least} to {most}")
    }
}

impl std::error::Error for SamplingError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Value;

    fn none() -> SamplingOverrides {
        SamplingOverrides::default()
    }

    #[test]
    fn overrides_take_the_place_of_defaults_and_the_rest_stays() {
        let asked = SamplingOverrides { top_k: Some(3), seed: Some(9), ..none() };
        let options = SamplingOptions::default().with(&asked).unwrap();
        assert_eq!((options.top_k(), options.seed()), (3, Some(9)));
        assert_eq!(options.top_p(), SamplingOptions::default().top_p());
        let again = options.clone().with(&none()).unwrap();
        assert_eq!(again, options);
    }

    #[test]
    fn a_model_file_may_recommend_values() {
        let mut metadata = Metadata::default();
        assert_eq!(SamplingOptions::from_metadata(&metadata), SamplingOptions::default());
        for (key, value) in [
            ("temp", Value::Float(0.6)),
            ("top_k", Value::Unsigned(20)),
            ("penalty_repeat", Value::Float(1.05)),
            ("penalty_last_n", Value::Unsigned(1 << 20)),
        ] {
            metadata.insert(&format!("general.sampling.{key}"), value);
        }
        let options = SamplingOptions::from_metadata(&metadata);
        assert_eq!((options.temperature(), options.top_k(), options.repetition_penalty()), (0.6, 20, 1.05));
        assert_eq!(options.repetition_window(), MAX_REPETITION_WINDOW);
        metadata.insert("general.sampling.top_p", Value::Float(7.0));
        metadata.insert("general.sampling.min_p", Value::Float(f64::NAN));
        assert_eq!(SamplingOptions::from_metadata(&metadata), options, "what makes no sense is passed over");
    }

    #[test]
    fn values_out_of_range_are_named() {
        let check = |asked: SamplingOverrides, text: &str| {
            assert_eq!(SamplingOptions::default().with(&asked).unwrap_err().to_string(), text);
        };
        check(SamplingOverrides { temperature: Some(-0.5), ..none() }, "temperature is -0.5, it must be from 0 to 5");
        check(
            SamplingOverrides { temperature: Some(f32::NAN), ..none() },
            "temperature is NaN, it must be from 0 to 5",
        );
        check(SamplingOverrides { top_p: Some(1.1), ..none() }, "top_p is 1.1, it must be from 0 to 1");
        check(SamplingOverrides { min_p: Some(f32::INFINITY), ..none() }, "min_p is inf, it must be from 0 to 1");
        check(
            SamplingOverrides { repetition_penalty: Some(0.0), ..none() },
            "repetition_penalty is 0, it must be from 0.1 to 10",
        );
        check(
            SamplingOverrides { presence_penalty: Some(3.0), ..none() },
            "presence_penalty is 3, it must be from -2 to 2",
        );
        check(
            SamplingOverrides { frequency_penalty: Some(-3.0), ..none() },
            "frequency_penalty is -3, it must be from -2 to 2",
        );
        check(
            SamplingOverrides { repetition_window: Some(MAX_REPETITION_WINDOW + 1), ..none() },
            "repetition_window is 4097, it must be from 0 to 4096",
        );
        check(
            SamplingOverrides { logprobs: Some(MAX_LOGPROBS + 1), ..none() },
            "logprobs is 21, it must be from 0 to 20",
        );
        check(
            SamplingOverrides { logit_bias: Some(vec![(0, 0.0); MAX_LOGIT_BIAS + 1]), ..none() },
            "the number of tokens in logit_bias is 301, it must be from 0 to 300",
        );
        check(
            SamplingOverrides { logit_bias: Some(vec![(7, 5.0), (8, -101.0)]), ..none() },
            "logit_bias is -101, it must be from -100 to 100",
        );
        let longest = SamplingOverrides { logit_bias: Some(vec![(0, 0.0); MAX_LOGIT_BIAS]), ..none() };
        assert!(SamplingOptions::default().with(&longest).is_ok());
    }
}
