//! The form that an answer has to have: `response_format` of the chat, `text.format` of responses.

use causerie_inference::Grammar;
use serde_json::{Value, json};

use super::error::ApiError;
use super::fields::{Fields, wrong_type};

/// What an answer has to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Format {
    /// Any text.
    #[default]
    Text,
    /// JSON that is valid under this schema.
    Json {
        /// As the engine gets it.
        schema: Value,
        /// What the model is told of it.
        instruction: String,
    },
}

impl Format {
    /// Reads what `Chat` has in `response_format`, and `Responses` in `text.format`: they differ in where the schema is,
    /// which `inner` finds.
    pub(super) fn read<'a>(
        fields: Option<Fields<'a>>,
        inner: impl FnOnce(&Fields<'a>) -> Result<Fields<'a>, ApiError>,
    ) -> Result<Format, ApiError> {
        let Some(fields) = fields else { return Ok(Format::Text) };
        match fields.require("type", fields.string("type")?)? {
            "text" => Ok(Format::Text),
            "json_object" => {
                let instruction = "Answer with a JSON object and nothing else.".to_owned();
                Ok(Format::Json { schema: json!({ "type": "object" }), instruction })
            }
            "json_schema" => Format::of_schema(&inner(&fields)?),
            other => {
                let message = format!("the form {other:?} is unknown; there are text, json_object and json_schema");
                Err(ApiError::invalid(fields.param("type"), message))
            }
        }
    }

    fn of_schema(fields: &Fields<'_>) -> Result<Format, ApiError> {
        fields.require("name", fields.string("name")?)?;
        let schema = match fields.require("schema", fields.get("schema"))? {
            schema @ Value::Object(_) => schema,
            other => return Err(wrong_type(fields.param("schema"), "a JSON schema", other)),
        };
        let description = fields.string("description")?.map_or(String::new(), |text| format!(" ({text})"));
        let instruction = format!("Answer with JSON that follows this JSON schema{description}:\n{schema}");
        let strict = fields.boolean("strict")?.unwrap_or(false);
        Ok(Format::Json { schema: layout(schema, strict), instruction })
    }

    /// What the model is told.
    pub(super) fn instruction(&self) -> Option<&str> {
        match self {
            Format::Text => None,
            Format::Json { instruction, .. } => Some(instruction),
        }
    }

    /// What the engine holds it to.
    pub(super) fn grammar(&self) -> Option<Grammar> {
        match self {
            Format::Text => None,
            Format::Json { schema, .. } => Some(Grammar::JsonSchema(schema.to_string())),
        }
    }
}

/// A schema that says how its JSON is laid out, in one line as models are used to. Unless it is to be followed to the
/// letter, keywords that the engine does not know are passed over instead of refused.
pub(super) fn layout(schema: &Value, strict: bool) -> Value {
    let mut schema = schema.clone();
    if let Some(schema) = schema.as_object_mut() {
        let layout = json!({
            "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": ", "lenient": !strict,
        });
        schema.entry("x-guidance").or_insert(layout);
    }
    schema
}
