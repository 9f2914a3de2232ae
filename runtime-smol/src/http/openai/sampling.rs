//! How tokens are to be chosen, and where the answer ends: what all endpoints have in common.

use causerie_inference::stop::StopFilter;
use causerie_inference::{SamplingOptions, SamplingOverrides};
use serde_json::Value;

use super::error::ApiError;
use super::fields::{Fields, wrong_type};

/// OpenAI's fields, and those that other servers have made common (`top_k`, `min_p`, `repetition_penalty`). What is not
/// there is the model's own, whose temperature is not 1. Without `logprobs`, which endpoints write differently.
pub(super) fn read(fields: &Fields<'_>) -> Result<SamplingOverrides, ApiError> {
    let overrides = SamplingOverrides {
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        presence_penalty: fields.number("presence_penalty")?,
        frequency_penalty: fields.number("frequency_penalty")?,
        logit_bias: bias(fields)?,
        seed: fields.seed("seed")?,
        top_k: fields.integer("top_k", 0..=u32::MAX)?,
        min_p: fields.number("min_p")?,
        repetition_penalty: fields.number("repetition_penalty")?,
        ..SamplingOverrides::default()
    };
    let checked = SamplingOptions::default().with(&overrides);
    checked.map_err(|error| ApiError::invalid(error.field, error.to_string()))?;
    Ok(overrides)
}

/// `{"TOKEN": BIAS}`.
fn bias(fields: &Fields<'_>) -> Result<Option<Vec<(u32, f32)>>, ApiError> {
    let Some(tokens) = fields.object("logit_bias")? else { return Ok(None) };
    let each = |(token, bias): (&String, &Value)| {
        let id = token.parse().map_err(|_| {
            let message = format!("{token:?} in \"logit_bias\" is no token: their ids are written as numbers");
            ApiError::invalid("logit_bias", message)
        })?;
        let bias = bias.as_f64().ok_or_else(|| wrong_type(tokens.param(token), "a number", bias))?;
        Ok((id, bias as f32))
    };
    tokens.iter().map(each).collect::<Result<_, _>>().map(Some)
}

/// `stop`: a string or several.
pub(super) fn stop(fields: &Fields<'_>) -> Result<Vec<String>, ApiError> {
    let stop = fields.strings("stop")?;
    StopFilter::new(stop.clone()).map_err(|error| ApiError::invalid("stop", error.to_string()))?;
    Ok(stop)
}

/// The sampling of one of several answers to the same request, which are not to be the same.
pub(super) fn of_choice(sampling: &SamplingOverrides, choice: usize) -> SamplingOverrides {
    let seed = sampling.seed.map(|seed| seed.wrapping_add(choice as u64));
    SamplingOverrides { seed, ..sampling.clone() }
}
