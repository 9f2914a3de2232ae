//! `POST /v1/embeddings` (<https://platform.openai.com/docs/api-reference/embeddings>).

use std::rc::Rc;

use causerie_inference::scheduler::MAX_EMBEDDED;
use hyper::StatusCode;
use serde_json::{Value, json};

use super::super::{Counted, Response, json as json_response};
use super::choices::Choices;
use super::error::ApiError;
use super::fields::Fields;
use super::input::{self, Input};
use super::{Posted, models};
use crate::base64;
use crate::worker::{Embedded, Task, TaskEvent, TaskInput};

/// The field with the texts.
const INPUT: &str = "input";

/// Answers a request.
pub(super) async fn answer(counted: &Rc<Counted>, posted: &Posted) -> Result<Response, ApiError> {
    let fields = Fields::of_request(&posted.body)?;
    let (model, asker) = models::find(&counted.site, &fields)?;
    let texts: Vec<Embedded> = input::read(&fields, INPUT, MAX_EMBEDDED)?.into_iter().map(text).collect();
    let encoding = Encoding::read(&fields)?;
    let dimensions = fields.integer("dimensions", 1..=u32::MAX)?;
    let mut vectors = vec![Vec::new(); texts.len()];
    let task = Task { input: TaskInput::Embed(texts), ..Task::default() };
    let mut choices = Choices::ask(&counted.site, &posted.user_id, &asker, vec![task], 1, INPUT).await?;
    while let Some(event) = choices.next().await {
        if let (_, TaskEvent::Embedded { text, vector }) = event? {
            vectors[text] = shortened(vector, dimensions)?;
        }
    }
    let embedding = |(index, vector): (usize, &Vec<f32>)| json!({ "object": "embedding", "index": index, "embedding": encoding.write(vector) });
    let data: Vec<Value> = vectors.iter().enumerate().map(embedding).collect();
    let tokens = choices.usage().prompt_tokens;
    let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    Ok(json_response(StatusCode::OK, &json!({ "object": "list", "data": data, "model": model, "usage": usage })))
}

fn text(input: Input) -> Embedded {
    match input {
        Input::Text(text) => Embedded::Text(text),
        Input::Tokens(tokens) => Embedded::Tokens(tokens),
    }
}

/// The first numbers of an embedding, of length 1 again.
fn shortened(mut vector: Vec<f32>, dimensions: Option<u32>) -> Result<Vec<f32>, ApiError> {
    let Some(dimensions) = dimensions.map(|dimensions| dimensions as usize) else { return Ok(vector) };
    if dimensions > vector.len() {
        let message = format!("\"dimensions\" is {dimensions}, the model's embeddings have {}", vector.len());
        return Err(ApiError::invalid("dimensions", message));
    }
    vector.truncate(dimensions);
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|number| *number /= length);
    }
    Ok(vector)
}

/// How the numbers are written.
#[derive(Clone, Copy, Debug)]
enum Encoding {
    Float,
    /// In single precision, the lowest byte first.
    Base64,
}

impl Encoding {
    fn read(fields: &Fields<'_>) -> Result<Encoding, ApiError> {
        match fields.string("encoding_format")? {
            None | Some("float") => Ok(Encoding::Float),
            Some("base64") => Ok(Encoding::Base64),
            Some(other) => {
                let message = format!("\"encoding_format\" is {other:?}; it can be float or base64");
                Err(ApiError::invalid("encoding_format", message))
            }
        }
    }

    fn write(self, vector: &[f32]) -> Value {
        match self {
            Encoding::Float => json!(vector),
            Encoding::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                Value::String(base64::encode(&bytes))
            }
        }
    }
}
