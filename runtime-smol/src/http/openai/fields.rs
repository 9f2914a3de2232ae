//! The fields of a request's JSON, each by its name and of its type. Fields that nobody asks for are passed over, as
//! OpenAI's service does, and `null` is as good as none.

use std::ops::RangeInclusive;

use hyper::StatusCode;
use serde_json::{Map, Value};

use super::error::ApiError;

/// An object of a request.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// Where it is in the request: `messages[0]`; empty for the request itself.
    path: String,
}

impl<'a> Fields<'a> {
    /// The whole request.
    pub(super) fn of_request(value: &'a Value) -> Result<Fields<'a>, ApiError> {
        let object = value.as_object().ok_or_else(|| {
            let message = format!("the body is to be a JSON object, and is {}", kind(value));
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_type", message)
        })?;
        Ok(Fields { object, path: String::new() })
    }

    /// A value that has to be an object.
    pub(super) fn of_value(value: &'a Value, path: String) -> Result<Fields<'a>, ApiError> {
        match value.as_object() {
            Some(object) => Ok(Fields { object, path }),
            None => Err(wrong_type(path, "an object", value)),
        }
    }

    /// What a field is called in messages.
    pub(super) fn param(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// All fields.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.object.iter()
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn require<T>(&self, name: &str, field: Option<T>) -> Result<T, ApiError> {
        field.ok_or_else(|| {
            let param = self.param(name);
            let message = format!("the field {param:?} is missing");
            ApiError::new(StatusCode::BAD_REQUEST, "missing_required_parameter", message).about(param)
        })
    }

    fn typed<T>(
        &self,
        name: &str,
        what: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| wrong_type(self.param(name), what, value))
    }

    pub(super) fn string(&self, name: &str) -> Result<Option<&'a str>, ApiError> {
        self.typed(name, "a string", Value::as_str)
    }

    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.typed(name, "true or false", Value::as_bool)
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<f32>, ApiError> {
        Ok(self.typed(name, "a number", Value::as_f64)?.map(|number| number as f32))
    }

    /// A number whose bits are what counts.
    pub(super) fn seed(&self, name: &str) -> Result<Option<u64>, ApiError> {
        self.typed(name, "an integer", |value| value.as_u64().or(value.as_i64().map(i64::cast_unsigned)))
    }

    pub(super) fn integer(&self, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, ApiError> {
        let Some(got) = self.typed(name, "an integer", |value| {
            value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
        })?
        else {
            return Ok(None);
        };
        let within = u32::try_from(got).ok().filter(|got| range.contains(got));
        within.map(Some).ok_or_else(|| {
            let param = self.param(name);
            let message = format!("{param:?} is {got}, it must be from {} to {}", range.start(), range.end());
            ApiError::invalid(param, message)
        })
    }

    pub(super) fn array(&self, name: &str) -> Result<Option<&'a [Value]>, ApiError> {
        self.typed(name, "an array", |value| value.as_array().map(Vec::as_slice))
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<Fields<'a>>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        Fields::of_value(value, self.param(name)).map(Some)
    }

    /// An array's elements, which have to be objects, by their places.
    pub(super) fn objects(&self, name: &str, most: usize) -> Result<Option<Vec<Fields<'a>>>, ApiError> {
        let Some(values) = self.array(name)? else { return Ok(None) };
        let param = self.param(name);
        if values.len() > most {
            let message = format!("{param:?} has {} elements, it may have {most}", values.len());
            return Err(ApiError::invalid(param, message));
        }
        let objects = values.iter().enumerate().map(|(at, value)| Fields::of_value(value, format!("{param}[{at}]")));
        objects.collect::<Result<_, _>>().map(Some)
    }

    /// A string or an array of strings.
    pub(super) fn strings(&self, name: &str) -> Result<Vec<String>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let wrong = || wrong_type(self.param(name), "a string or an array of strings", value);
        match value {
            Value::String(text) => Ok(vec![text.clone()]),
            Value::Array(texts) => {
                texts.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
            }
            _ => Err(wrong()),
        }
    }

    /// Refuses fields that ask for what is not there.
    pub(super) fn refuse(&self, names: &[&str], why: &str) -> Result<(), ApiError> {
        match names.iter().find(|name| self.get(name).is_some()) {
            Some(name) => Err(ApiError::unsupported(self.param(name), format!("{name:?} is not supported: {why}"))),
            None => Ok(()),
        }
    }
}

pub(super) fn wrong_type(param: String, what: &str, got: &Value) -> ApiError {
    let message = format!("{param:?} is to be {what}, and is {}", kind(got));
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_type", message).about(param)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
