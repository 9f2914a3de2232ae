//! Typed access to a file's keys and values.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::Texts;

/// A metadata value. Integers of all widths are kept as one kind, and so are both widths of floats.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any unsigned integer, or a signed one that is not negative.
    Unsigned(u64),
    /// A negative integer.
    Negative(i64),
    /// A float. What is not finite in the file has become NaN.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Text. Bytes that are not UTF-8 have become U+FFFD.
    Text(String),
    /// An array of text.
    Texts(Texts),
    /// An array of integers that all fit `i32`, or of truth values as 1 and 0.
    Integers(Vec<i32>),
    /// An array of floats.
    Floats(Vec<f32>),
    /// An array of another kind, or one too long for what nothing here needs.
    Other,
}

/// A file's keys and values. Every accessor gives `None` when the key is absent or its value is of another type or does
/// not fit.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    values: BTreeMap<String, Value>,
}

impl Metadata {
    pub(super) fn new(plain: &BTreeMap<String, Json>, arrays: Vec<(&str, Value)>) -> Self {
        let mut values: BTreeMap<_, _> = plain.iter().map(|(key, json)| (key.clone(), value(json))).collect();
        values.extend(arrays.into_iter().map(|(key, array)| (key.to_owned(), array)));
        Self { values }
    }

    /// Sets a key, for metadata that come from elsewhere than a file.
    pub fn insert(&mut self, key: &str, value: Value) {
        self.values.insert(key.to_owned(), value);
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Any value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Text.
    pub fn str(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// An integer of any stored width that is not negative and fits 32 bits.
    pub fn u32(&self, key: &str) -> Option<u32> {
        u32::try_from(self.u64(key)?).ok()
    }

    /// An integer of any stored width that is not negative.
    pub fn u64(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Value::Unsigned(value) => Some(*value),
            _ => None,
        }
    }

    /// A float of either width, or an integer.
    pub fn f32(&self, key: &str) -> Option<f32> {
        match self.get(key)? {
            Value::Float(value) => Some(*value as f32),
            Value::Unsigned(value) => Some(*value as f32),
            Value::Negative(value) => Some(*value as f32),
            _ => None,
        }
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// An array of text.
    pub fn strs(&self, key: &str) -> Option<&Texts> {
        match self.get(key)? {
            Value::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    /// An array of integers that all fit `i32`.
    pub fn i32s(&self, key: &str) -> Option<&[i32]> {
        match self.get(key)? {
            Value::Integers(values) => Some(values),
            _ => None,
        }
    }

    /// An array of floats.
    pub fn f32s(&self, key: &str) -> Option<&[f32]> {
        match self.get(key)? {
            Value::Floats(values) => Some(values),
            _ => None,
        }
    }
}

/// From gguf-rs's form, in which numbers are decimal text (serde_json's `arbitrary_precision`) and a float that is not
/// finite is null.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Float(f64::NAN),
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => Value::Unsigned(value),
            (None, Some(value)) => Value::Negative(value),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(_) | Json::Object(_) => Value::Other, // arrays do not come this way
    }
}
