//! What is looked at in a JSON schema before llguidance gets it.

use serde_json::{Value, json};

use super::error::GrammarError;

/// The greatest number that all `multipleOf` of a schema may have as their least common multiple, counted in units of their
/// last decimal place. llguidance takes some 30 µs for each number below it (a second of hostile schema, at most) and does
/// not count that towards its limits.
pub(super) const MAX_MULTIPLE: u64 = 10_000;

/// Parses a schema, and says how its JSON is laid out if it does not say so itself.
///
/// # Errors
/// [`GrammarError::Invalid`]: it is not JSON, nested deeper than 128 levels, or has a `multipleOf` beyond [`MAX_MULTIPLE`].
pub(super) fn read(text: &str) -> Result<Value, GrammarError> {
    let mut schema: Value = serde_json::from_str(text)
        .map_err(|error| GrammarError::invalid(&format!("the schema is not JSON: {error}")))?;
    check_multiples(&schema)?;
    if let Some(schema) = schema.as_object_mut() {
        let layout = json!({ "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": " });
        schema.entry("x-guidance").or_insert(layout);
    }
    Ok(schema)
}

fn check_multiples(schema: &Value) -> Result<(), GrammarError> {
    let mut numbers = Vec::new();
    collect_multiples(schema, &mut numbers);
    let unit = numbers.iter().map(|number| number.exponent).min().unwrap_or(0);
    let units = numbers.iter().map(|number| number.in_units_of(unit)).collect::<Option<Vec<u64>>>();
    let common = units.and_then(|units| units.into_iter().try_fold(1, common_multiple));
    if common.is_none_or(|common| common > MAX_MULTIPLE) {
        return Err(GrammarError::invalid(&format!(
            "the numbers of its multipleOf have a least common multiple beyond {MAX_MULTIPLE} in their last decimal place"
        )));
    }
    Ok(())
}

/// By recursion, no deeper than serde_json parses.
fn collect_multiples(value: &Value, found: &mut Vec<Decimal>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::Number(number) if key == "multipleOf" => found.push(Decimal::parse(&number.to_string())),
                    _ => collect_multiples(value, found),
                }
            }
        }
        Value::Array(array) => array.iter().for_each(|value| collect_multiples(value, found)),
        _ => {}
    }
}

/// `digits * 10^exponent`, without zeros at the end of the digits.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Decimal {
    /// `None` if they do not fit.
    digits: Option<u64>,
    exponent: i64,
}

impl Decimal {
    /// Reads a JSON number, and passes over its sign.
    fn parse(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
        let significant = digits.trim_end_matches('0');
        let zeros = digits.len() - significant.len();
        let exponent = exponent.parse::<i64>().unwrap_or(i64::MAX / 2).clamp(-1_000_000, 1_000_000);
        let digits = if significant.is_empty() { Some(0) } else { significant.parse().ok() };
        Self { digits, exponent: if digits == Some(0) { 0 } else { exponent + zeros as i64 - fraction.len() as i64 } }
    }

    /// The number in units of a power of ten that is no greater than its own; `None` if it is too great.
    fn in_units_of(self, exponent: i64) -> Option<u64> {
        let power = u32::try_from(self.exponent - exponent).ok()?;
        self.digits?.checked_mul(10u64.checked_pow(power)?)
    }
}

fn common_multiple(a: u64, b: u64) -> Option<u64> {
    let (mut divisor, mut rest) = (a, b);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    // A multipleOf of zero is not valid, and llguidance says so.
    if b == 0 { Some(a) } else { (a / divisor).checked_mul(b).filter(|&common| common <= MAX_MULTIPLE) }
}
