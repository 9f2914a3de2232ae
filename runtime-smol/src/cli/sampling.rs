//! How answers are sampled: as flags, and as what `/set` changes.

use causerie_inference::{SamplingOptions, SamplingOverrides};
use clap::Args;
use serde_json::{Map, Value};

use super::failure::Failure;

/// Tokens of an answer where nobody says: some 750 English words.
pub(super) const ANSWER_TOKENS: u32 = 1024;

/// The most tokens of an answer that can be asked for, as on a server.
const MOST_TOKENS: u32 = 32_768;

/// How answers are sampled.
#[derive(Args, Clone, Debug)]
pub(crate) struct AnswerOptions {
    /// The longest answer, in tokens [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,

    /// 0 always takes the likeliest token; higher is more surprising [default: the model's, or 0.2]
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,

    /// Choose among the N likeliest tokens; 0 for all [default: the model's, or 40]
    #[arg(long, value_name = "N")]
    top_k: Option<u32>,

    /// Choose among the likeliest tokens that together have this probability [default: the model's, or 0.9]
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,

    /// Choose among tokens with at least this part of the likeliest one's probability [default: the model's, or 0]
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,

    /// Makes repetition less likely; 1 changes nothing [default: the model's, or 1.05]
    #[arg(long, value_name = "R")]
    repetition_penalty: Option<f32>,

    /// The same seed gives the same answer
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
}

impl AnswerOptions {
    /// What the flags say; what is wrong with them is told before there is a model.
    pub(crate) fn sampling(&self) -> Result<Sampling, Failure> {
        let overrides = SamplingOverrides {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
            ..SamplingOverrides::default()
        };
        let sampling = Sampling { overrides, max_tokens: self.max_tokens };
        sampling.over(&SamplingOptions::default()).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(sampling)
    }
}

/// What is wished of sampling; what is not wished is the model's own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sampling {
    overrides: SamplingOverrides,
    max_tokens: Option<u32>,
}

/// What can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameter {
    MaxTokens,
    Temperature,
    TopK,
    TopP,
    MinP,
    RepetitionPenalty,
    Seed,
}

impl Parameter {
    /// All of them, as they are shown.
    pub(crate) const ALL: [Parameter; 7] = [
        Parameter::Temperature,
        Parameter::TopK,
        Parameter::TopP,
        Parameter::MinP,
        Parameter::RepetitionPenalty,
        Parameter::MaxTokens,
        Parameter::Seed,
    ];

    /// The name, as in the protocol.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Parameter::MaxTokens => "max_tokens",
            Parameter::Temperature => "temperature",
            Parameter::TopK => "top_k",
            Parameter::TopP => "top_p",
            Parameter::MinP => "min_p",
            Parameter::RepetitionPenalty => "repetition_penalty",
            Parameter::Seed => "seed",
        }
    }

    /// What it does, in few words.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Parameter::MaxTokens => "the longest answer, in tokens",
            Parameter::Temperature => "0 always takes the likeliest token, higher is more surprising",
            Parameter::TopK => "choose among so many of the likeliest tokens; 0 for all",
            Parameter::TopP => "choose among the likeliest that together have this probability",
            Parameter::MinP => "choose among those with this part of the likeliest one's probability",
            Parameter::RepetitionPenalty => "above 1 makes repetition less likely",
            Parameter::Seed => "the same seed gives the same answer",
        }
    }

    /// By its name; hyphens are as good as underscores.
    fn from_name(name: &str) -> Option<Parameter> {
        let name = name.to_ascii_lowercase().replace('-', "_");
        Self::ALL.into_iter().find(|parameter| parameter.name() == name)
    }
}

impl Sampling {
    /// Tokens of an answer, at most.
    pub(crate) fn max_tokens(&self) -> u32 {
        self.max_tokens.unwrap_or(ANSWER_TOKENS)
    }

    /// A model's own options with these in their place.
    pub(crate) fn over(&self, model: &SamplingOptions) -> Result<SamplingOptions, causerie_inference::SamplingError> {
        model.clone().with(&self.overrides)
    }

    /// What is wished of a parameter, as text.
    pub(crate) fn wished(&self, parameter: Parameter) -> Option<String> {
        let o = &self.overrides;
        let text = |value: Option<f32>| value.map(|value| value.to_string());
        match parameter {
            Parameter::MaxTokens => self.max_tokens.map(|tokens| tokens.to_string()),
            Parameter::Temperature => text(o.temperature),
            Parameter::TopK => o.top_k.map(|k| k.to_string()),
            Parameter::TopP => text(o.top_p),
            Parameter::MinP => text(o.min_p),
            Parameter::RepetitionPenalty => text(o.repetition_penalty),
            Parameter::Seed => o.seed.map(|seed| seed.to_string()),
        }
    }

    /// Does what `/set` was given: `NAME VALUE`, `NAME=VALUE`, or `NAME default`. What is out of range changes nothing.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub(crate) fn set(&mut self, text: &str) -> Result<Parameter, String> {
        let (name, value) = match text.split_once(|c: char| c == '=' || c.is_whitespace()) {
            Some((name, value)) => (name.trim(), value.trim_matches(|c: char| c == '=' || c.is_whitespace())),
            None => (text.trim(), ""),
        };
        let Some(parameter) = Parameter::from_name(name) else {
            let names = Parameter::ALL.map(Parameter::name).join(", ");
            return Err(format!("There is no {name}; there are {names}."));
        };
        if value.is_empty() {
            return Err(format!("What shall {} be? /set {0} VALUE, or /set {0} default.", parameter.name()));
        }
        let mut changed = self.clone();
        changed.assign(parameter, (!value.eq_ignore_ascii_case("default")).then_some(value))?;
        changed.over(&SamplingOptions::default()).map_err(|error| error.to_string())?;
        *self = changed;
        Ok(parameter)
    }

    fn assign(&mut self, parameter: Parameter, value: Option<&str>) -> Result<(), String> {
        fn parsed<T: std::str::FromStr>(value: Option<&str>, what: &str) -> Result<Option<T>, String> {
            value.map(|value| value.parse().map_err(|_| format!("{value} is {what}."))).transpose()
        }
        const NO_NUMBER: &str = "no number";
        const NO_WHOLE: &str = "no whole number";
        let o = &mut self.overrides;
        match parameter {
            Parameter::Temperature => o.temperature = parsed(value, NO_NUMBER)?,
            Parameter::TopP => o.top_p = parsed(value, NO_NUMBER)?,
            Parameter::MinP => o.min_p = parsed(value, NO_NUMBER)?,
            Parameter::RepetitionPenalty => o.repetition_penalty = parsed(value, NO_NUMBER)?,
            Parameter::TopK => o.top_k = parsed(value, NO_WHOLE)?,
            Parameter::Seed => o.seed = parsed(value, NO_WHOLE)?,
            Parameter::MaxTokens => {
                let tokens: Option<u32> = parsed(value, NO_WHOLE)?;
                if let Some(tokens) = tokens.filter(|tokens| !(1..=MOST_TOKENS).contains(tokens)) {
                    return Err(format!("max_tokens is {tokens}, it must be from 1 to {MOST_TOKENS}"));
                }
                self.max_tokens = tokens;
            }
        }
        Ok(())
    }

    /// These wishes, and those of `others` where there is none.
    pub(crate) fn or(&self, others: &Sampling) -> Sampling {
        let mut all = others.to_json();
        all.extend(self.to_json());
        Sampling::from_json(&all)
    }

    /// What is wished, as the protocol and saved conversations have it.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        let wished = Parameter::ALL.into_iter().filter_map(|parameter| Some((parameter, self.wished(parameter)?)));
        let number = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
        wished.map(|(parameter, text)| (parameter.name().to_owned(), number(text))).collect()
    }

    /// The same, read. What is unknown or out of range is passed over: an old file is no reason not to go on.
    pub(crate) fn from_json(map: &Map<String, Value>) -> Sampling {
        let mut sampling = Sampling::default();
        for (name, value) in map {
            let _ = sampling.set(&format!("{name} {value}"));
        }
        sampling
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_shown_saved_and_taken_back() {
        let mut sampling = Sampling::default();
        for (text, name, value) in [
            ("temperature 0.7", "temperature", Some("0.7")),
            ("top-k=5", "top_k", Some("5")),
            ("TOP_P = 0.5", "top_p", Some("0.5")),
            ("seed 18446744073709551615", "seed", Some("18446744073709551615")),
            ("max_tokens 7", "max_tokens", Some("7")),
            ("temperature default", "temperature", None),
        ] {
            let parameter = sampling.set(text).unwrap();
            assert_eq!(parameter.name(), name);
            assert_eq!(sampling.wished(parameter).as_deref(), value, "{text}");
        }
        assert_eq!(Sampling::from_json(&sampling.to_json()), sampling);
        let mut others = Sampling::default();
        others.set("temperature 1").unwrap();
        others.set("top_k 9").unwrap();
        let both = sampling.or(&others);
        assert_eq!(both.wished(Parameter::Temperature).as_deref(), Some("1"));
        assert_eq!(both.wished(Parameter::TopK).as_deref(), Some("5"));
    }

    #[test]
    fn what_is_wrong_is_told_and_changes_nothing() {
        let mut sampling = Sampling::default();
        for (text, told) in [
            ("heat 3", "There is no heat; there are temperature"),
            ("temperature", "/set temperature VALUE"),
            ("temperature warm", "warm is no number"),
            ("temperature nan", "it must be from 0 to 5"),
            ("top_p 1.5", "it must be from 0 to 1"),
            ("top_k 1.5", "no whole number"),
            ("top_k -1", "no whole number"),
            ("max_tokens 0", "from 1 to"),
            ("max_tokens 32769", "from 1 to 32768"),
        ] {
            let error = sampling.set(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
            assert_eq!(sampling, Sampling::default(), "{text}");
        }
        assert!(sampling.set("max_tokens 32768").is_ok());
    }
}
