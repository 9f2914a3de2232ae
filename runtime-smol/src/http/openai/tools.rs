//! Tools that the model may call: what it is told of them, and the form that it is held to.

use causerie_inference::Grammar;
use causerie_inference::grammar::MAX_GRAMMAR_BYTES;
use serde_json::{Value, json};

use super::calls::{CLOSE, OPEN};
use super::error::ApiError;
use super::fields::{Fields, wrong_type};
use super::format::{Format, layout};
use crate::limits;

/// Calls of one answer, at most: small models may not find an end.
const CALLS: usize = 8;

/// A function that a client offers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) description: Option<String>,
    /// JSON schema of its arguments.
    pub(super) parameters: Value,
    /// Whether the schema is to be followed to the letter, or refused.
    pub(super) strict: bool,
}

impl Tool {
    /// Reads what `Chat` has in `tools[i].function`, and `Responses` in `tools[i]` itself.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Tool, ApiError> {
        let name = fields.require("name", fields.string("name")?)?;
        let fits = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if !fits {
            let message = "a tool's name has 1 to 64 letters, digits, \"_\" and \"-\"";
            return Err(ApiError::invalid(fields.param("name"), message));
        }
        let parameters = match fields.get("parameters") {
            None => json!({ "type": "object", "properties": {} }),
            Some(schema @ Value::Object(_)) => schema.clone(),
            Some(other) => return Err(wrong_type(fields.param("parameters"), "a JSON schema", other)),
        };
        let description = fields.string("description")?.map(str::to_owned);
        let strict = fields.boolean("strict")?.unwrap_or(false);
        Ok(Tool { name: name.to_owned(), description, parameters, strict })
    }

    /// As `Chat` writes it, which models are used to.
    pub(super) fn as_chat(&self) -> Value {
        let function = match &self.description {
            Some(description) => {
                json!({ "name": self.name, "description": description, "parameters": self.parameters })
            }
            None => json!({ "name": self.name, "parameters": self.parameters }),
        };
        json!({ "type": "function", "function": function })
    }
}

/// Whether the model is to call a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ToolChoice {
    /// It must not.
    None,
    /// As it likes.
    Auto,
    /// One of them, or several.
    Required,
    /// This one.
    Named(String),
}

/// The tools of a request.
#[derive(Clone, Debug)]
pub(super) struct Tools {
    tools: Vec<Tool>,
    choice: ToolChoice,
    parallel: bool,
}

impl Tools {
    /// Of what was read; `None` if there are no tools.
    pub(super) fn new(
        tools: Vec<Tool>,
        choice: Option<ToolChoice>,
        parallel: Option<bool>,
    ) -> Result<Option<Tools>, ApiError> {
        let choice = choice.unwrap_or(ToolChoice::Auto);
        if tools.is_empty() {
            return match choice {
                ToolChoice::None | ToolChoice::Auto => Ok(None),
                _ => Err(ApiError::invalid("tool_choice", "a tool is to be called, and \"tools\" names none")),
            };
        }
        if let ToolChoice::Named(name) = &choice
            && !tools.iter().any(|tool| tool.name == *name)
        {
            let message = format!("\"tool_choice\" is {name:?}, which is not among \"tools\"");
            return Err(ApiError::invalid("tool_choice", message));
        }
        if let Some(at) = (1..tools.len()).find(|&at| tools[..at].iter().any(|tool| tool.name == tools[at].name)) {
            let message = format!("there are two tools of the name {:?}", tools[at].name);
            return Err(ApiError::invalid(format!("tools[{at}]"), message));
        }
        Ok(Some(Tools { tools, choice, parallel: parallel.unwrap_or(true) }))
    }

    /// What may be called.
    pub(super) fn names(&self) -> Vec<String> {
        self.offered().map(|tool| tool.name.clone()).collect()
    }

    fn offered(&self) -> impl Iterator<Item = &Tool> {
        self.tools.iter().filter(|tool| match &self.choice {
            ToolChoice::None => false,
            ToolChoice::Auto | ToolChoice::Required => true,
            ToolChoice::Named(name) => tool.name == *name,
        })
    }

    /// What the model is told of; none if it must not call.
    pub(super) fn told(&self) -> Vec<Value> {
        self.offered().map(Tool::as_chat).collect()
    }

    /// The form of an answer that calls tools, or may, and otherwise has the form of `format`. It is the same for all
    /// models: one whose template asks for another form of calls is told of tools, and of this form, in the system's words
    /// instead (see [`causerie_inference::chat::Step`]).
    pub(super) fn grammar(&self, format: &Format) -> Option<Grammar> {
        let choice = match &self.choice {
            ToolChoice::None => return format.grammar(),
            choice => choice,
        };
        let calls = match choice {
            ToolChoice::Auto if self.parallel => format!("call (\"\\n\" call){{0,{}}}", CALLS - 1),
            // One is enough where one is asked for.
            _ => "call".to_owned(),
        };
        let mut schemas = Vec::new();
        let mut bodies = Vec::new();
        for tool in self.offered() {
            let head = Value::from(format!("{}, \"arguments\": ", Value::from(tool.name.as_str())));
            bodies.push(format!("{head} @schema{}", schemas.len()));
            schemas.push(layout(&tool.parameters, tool.strict).to_string());
        }
        let otherwise = match (choice, format) {
            (ToolChoice::Required | ToolChoice::Named(_), _) => String::new(),
            (_, Format::Text) => " | TEXT?".to_owned(),
            (_, Format::Json { schema, .. }) => {
                schemas.push(schema.to_string());
                format!(" | @schema{}", schemas.len() - 1)
            }
        };
        let mut rules = format!(
            "start: calls{otherwise}\ncalls: {calls}\ncall: \"{OPEN}\\n{{\\\"name\\\": \" body \"}}\\n{CLOSE}\"\nbody: {}\n",
            bodies.join("\n    | ")
        );
        if otherwise == " | TEXT?" {
            rules.push_str("TEXT: /(?s:([^<]|<[^t]).*)/\n");
        }
        // Where a model may do as it likes, it can do so without being held to more than the limit.
        let bytes = rules.len() + schemas.iter().map(String::len).sum::<usize>();
        let free = *choice == ToolChoice::Auto && *format == Format::Text;
        (!free || bytes <= MAX_GRAMMAR_BYTES).then_some(Grammar::LarkWithSchemas { rules, schemas })
    }
}

/// `tools` and `tool_choice` of the chat.
pub(super) fn of_chat(fields: &Fields<'_>) -> Result<Option<Tools>, ApiError> {
    fields.refuse(&["functions", "function_call"], "functions have become \"tools\" and \"tool_choice\"")?;
    let each = |fields: Fields<'_>| {
        check_type(&fields)?;
        Tool::read(&fields.require("function", fields.object("function")?)?)
    };
    let tools = fields.objects("tools", limits::API_TOOLS)?.unwrap_or_default();
    let tools = tools.into_iter().map(each).collect::<Result<_, _>>()?;
    let choice = choice(fields, |named| {
        let function = named.require("function", named.object("function")?)?;
        function.require("name", function.string("name")?)
    })?;
    Tools::new(tools, choice, fields.boolean("parallel_tool_calls")?)
}

/// `tools` and `tool_choice` of responses.
pub(super) fn of_responses(fields: &Fields<'_>) -> Result<Option<Tools>, ApiError> {
    let each = |fields: Fields<'_>| check_type(&fields).and_then(|()| Tool::read(&fields));
    let tools = fields.objects("tools", limits::API_TOOLS)?.unwrap_or_default();
    let tools = tools.into_iter().map(each).collect::<Result<_, _>>()?;
    let choice = choice(fields, |named| named.require("name", named.string("name")?))?;
    Tools::new(tools, choice, fields.boolean("parallel_tool_calls")?)
}

fn check_type(fields: &Fields<'_>) -> Result<(), ApiError> {
    match fields.require("type", fields.string("type")?)? {
        "function" => Ok(()),
        other => {
            let message = format!("tools of the type {other:?} are not supported, only \"function\"");
            Err(ApiError::unsupported(fields.param("type"), message))
        }
    }
}

fn choice<'a>(
    fields: &Fields<'a>,
    name: impl FnOnce(&Fields<'a>) -> Result<&'a str, ApiError>,
) -> Result<Option<ToolChoice>, ApiError> {
    match fields.get("tool_choice") {
        None => Ok(None),
        Some(Value::String(word)) => match word.as_str() {
            "none" => Ok(Some(ToolChoice::None)),
            "auto" => Ok(Some(ToolChoice::Auto)),
            "required" => Ok(Some(ToolChoice::Required)),
            other => {
                let message = format!("\"tool_choice\" is {other:?}; it can be none, auto, required or a tool");
                Err(ApiError::invalid("tool_choice", message))
            }
        },
        Some(value @ Value::Object(_)) => {
            let named = Fields::of_value(value, fields.param("tool_choice"))?;
            match named.require("type", named.string("type")?)? {
                "function" => Ok(Some(ToolChoice::Named(name(&named)?.to_owned()))),
                other => {
                    let message =
                        format!("a \"tool_choice\" of the type {other:?} is not supported, only \"function\"");
                    Err(ApiError::unsupported(named.param("type"), message))
                }
            }
        }
        Some(other) => Err(wrong_type(fields.param("tool_choice"), "a string or an object", other)),
    }
}
