//! Chat templates: how a conversation is written as one text for the model.
//!
//! A model file carries its template in Jinja, in the dialect of Python's `transformers`: `trim_blocks` and
//! `lstrip_blocks` are on, Python's methods on strings and maps work, and `raise_exception`, `strftime_now` and `tojson`
//! exist. A template is a program from a file, so it runs with a budget ([`FUEL`]) that bounds its time and memory.

mod date;
mod json;
#[cfg(test)]
mod tests;

pub use date::Date;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde_json::{Value as Json, json};
use std::fmt;

use crate::chat::CALL_OPEN;
use crate::error::LoadError;
use crate::gguf::Metadata;
use crate::tokenizer::Tokenizer;

/// The most bytes of a template's source. The longest in use have some 20 kB.
pub const MAX_TEMPLATE_BYTES: usize = 1 << 18;

/// What rendering may cost: one unit is an instruction, or 64 bytes of text made. A conversation of 5,000 turns takes
/// about a tenth; a template that never ends is stopped within a second, with at most 128 MiB made.
pub const FUEL: u64 = 1 << 21;

/// The most bytes of a rendered conversation: far more than any context holds.
pub const MAX_RENDERED_BYTES: usize = 1 << 24;

/// The template of models whose file has none.
const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + \
                      '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// The name under which the one template is kept; without an extension, so that nothing is escaped for HTML.
const NAME: &str = "chat";

/// Why a template was refused, or could not write a conversation. Lines count from 1 within the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateError {
    /// The source is longer than [`MAX_TEMPLATE_BYTES`].
    TooLong {
        /// Its length in bytes.
        got: usize,
    },
    /// The source is not a template.
    Syntax {
        /// Where.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Rendering failed, or the template itself raised an error.
    Render {
        /// Where.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Rendering took more than [`FUEL`].
    Endless {
        /// Where it stopped.
        line: usize,
    },
    /// The rendered text is longer than [`MAX_RENDERED_BYTES`].
    RenderedTooLong {
        /// Its length in bytes.
        got: usize,
    },
    /// The template does not write what a user says.
    Silent,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { got } => {
                write!(f, "the chat template has {got} bytes, the limit is {MAX_TEMPLATE_BYTES}")
            }
            Self::Syntax { line, reason } => write!(f, "the chat template is not valid at line {line}: {reason}"),
            Self::Render { line, reason } => write!(f, "the chat template failed at line {line}: {reason}"),
            Self::Endless { line } => {
                write!(f, "the chat template was stopped at line {line}: it took more than {FUEL} steps")
            }
            Self::RenderedTooLong { got } => {
                write!(f, "the chat template wrote {got} bytes, the limit is {MAX_RENDERED_BYTES}")
            }
            Self::Silent => write!(f, "the chat template does not write what the user says"),
        }
    }
}

impl std::error::Error for TemplateError {}

impl From<TemplateError> for LoadError {
    fn from(error: TemplateError) -> Self {
        Self::Vocabulary { reason: error.to_string() }
    }
}

/// What a template may ask for besides the conversation.
#[derive(Debug, Clone, Default)]
pub struct TemplateOptions {
    /// `bos_token`: the text of the token that begins a text.
    pub begin: String,
    /// `eos_token`: the text of the token that ends one.
    pub end: String,
    /// What `strftime_now` tells. Without it the function is undefined, and templates take the date they carry.
    pub today: Option<Date>,
}

/// One message as a template sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// `system`, `user`, `assistant` or `tool`.
    pub(crate) role: &'static str,
    pub(crate) content: &'a str,
}

/// What a template sees besides of a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Written {
    /// Nothing.
    Said,
    /// `tool_calls`.
    Called(Vec<Json>),
    /// `tool_call_id` and `name`.
    Result { call: String, name: Option<String> },
}

/// A compiled chat template. It never changes, and can be shared between threads.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    options: TemplateOptions,
    takes_system: bool,
    takes_assistant_first: bool,
    takes_tools: bool,
    takes_calls: bool,
}

impl ChatTemplate {
    /// The template of a model file, or ChatML where it has none. `strftime_now` is undefined.
    ///
    /// # Errors
    /// As [`ChatTemplate::new`].
    pub fn from_metadata(metadata: &Metadata, tokenizer: &Tokenizer) -> Result<Self, TemplateError> {
        let text = |id: Option<u32>| id.map_or_else(String::new, |id| tokenizer.decode(&[id]));
        let options = TemplateOptions { begin: text(tokenizer.begin()), end: text(tokenizer.end()), today: None };
        Self::new(metadata.str("tokenizer.chat_template").unwrap_or(CHATML), options)
    }

    /// Compiles a template, and tries it on short conversations to learn what it refuses: a system message (Gemma), or
    /// an assistant that speaks first (Llama 2, Mistral); and whether it writes tools, calls and results.
    ///
    /// # Errors
    /// When the source is too long or not valid, or when the template cannot write a single message of a user.
    pub fn new(source: &str, options: TemplateOptions) -> Result<Self, TemplateError> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(TemplateError::TooLong { got: source.len() });
        }
        let mut environment = environment(options.today);
        environment
            .add_template_owned(NAME, without_generation_marks(source))
            .map_err(|error| TemplateError::Syntax { line: error.line().unwrap_or(1), reason: reason(&error) })?;
        let mut template = Self {
            environment,
            options,
            takes_system: false,
            takes_assistant_first: false,
            takes_tools: false,
            takes_calls: false,
        };
        let user = Message { role: "user", content: "USER" };
        if !template.render(&[user])?.contains("USER") {
            return Err(TemplateError::Silent);
        }
        let writes = |role, content| {
            let first = Message { role, content };
            template.render(&[first, user]).is_ok_and(|text| text.contains(content) && text.contains("USER"))
        };
        let (takes_system, takes_assistant_first) = (writes("system", "SYSTEM"), writes("assistant", "ASSISTANT"));
        template.takes_system = takes_system;
        template.takes_assistant_first = takes_assistant_first;
        template.takes_tools = template.writes_tools();
        template.takes_calls = template.writes_calls();
        Ok(template)
    }

    /// Whether a conversation may begin with a system message.
    pub fn takes_system(&self) -> bool {
        self.takes_system
    }

    /// Whether the assistant may speak before any user.
    pub fn takes_assistant_first(&self) -> bool {
        self.takes_assistant_first
    }

    /// Whether the template tells the model of tools, and asks for calls in the form `<tool_call>{…}</tool_call>`, the
    /// only one that is read. False for one that asks for another.
    pub fn takes_tools(&self) -> bool {
        self.takes_tools
    }

    /// Whether the template writes, in the same form, what was called before, and what came of it. One may take tools
    /// and no calls (SmolLM3), which then stand in the texts.
    pub fn takes_calls(&self) -> bool {
        self.takes_calls
    }

    fn writes_tools(&self) -> bool {
        let tool = json!({ "type": "function", "function": {
            "name": "TOOL",
            "description": "DESCRIPTION",
            "parameters": { "type": "object", "properties": { "PARAMETER": { "type": "string" } } },
        } });
        let user = Message { role: "user", content: "USER" };
        self.render_with_tools(&[tool], [(user, &Written::Said)].into_iter()).is_ok_and(|text| {
            ["TOOL", "DESCRIPTION", "PARAMETER", "USER", CALL_OPEN].iter().all(|part| text.contains(part))
        })
    }

    /// Tried with two calls at once, which Llama's template refuses, and an id in the form of OpenAI's, which Mistral's does.
    fn writes_calls(&self) -> bool {
        let call = |id: &str, argument: &str| json!({ "type": "function", "id": id, "function": { "name": "TOOL", "arguments": { "key": argument } } });
        let result = |call: &str| Written::Result { call: call.to_owned(), name: Some("TOOL".to_owned()) };
        let said = |role, content| Message { role, content };
        let called = Written::Called(vec![call("call_1", "ONE"), call("call_2", "TWO")]);
        let (first, second) = (result("call_1"), result("call_2"));
        let messages = [
            (said("user", "USER"), &Written::Said),
            (said("assistant", ""), &called),
            (said("tool", "FIRST"), &first),
            (said("tool", "SECOND"), &second),
        ];
        self.render_with_tools(&[], messages.into_iter()).is_ok_and(|text| {
            let places =
                ["USER", CALL_OPEN, "TOOL", "\"ONE\"", "\"TWO\"", "FIRST", "SECOND"].map(|part| text.find(part));
            places.iter().all(Option::is_some) && places.is_sorted()
        })
    }

    /// The conversation's text, with the beginning of the assistant's answer.
    pub(crate) fn render(&self, messages: &[Message<'_>]) -> Result<String, TemplateError> {
        self.render_with_tools(&[], messages.iter().map(|&message| (message, &Written::Said)))
    }

    /// As [`ChatTemplate::render`], with tools for the model to call, and calls and results among the messages.
    pub(crate) fn render_with_tools<'m>(
        &self,
        tools: &[Json],
        messages: impl Iterator<Item = (Message<'m>, &'m Written)>,
    ) -> Result<String, TemplateError> {
        let messages: Vec<Value> = messages.map(|(message, written)| value(message, written)).collect();
        let context = context! {
            messages,
            // As `transformers` has it: none rather than empty.
            tools => (!tools.is_empty()).then(|| of_json_list(tools)),
            add_generation_prompt => true,
            bos_token => &self.options.begin,
            eos_token => &self.options.end,
        };
        let template = self.environment.get_template(NAME).expect("the constructor added it");
        let text = template.render(context).map_err(|error| {
            let line = error.line().unwrap_or(1);
            match error.kind() {
                ErrorKind::OutOfFuel => TemplateError::Endless { line },
                _ => TemplateError::Render { line, reason: reason(&error) },
            }
        })?;
        match text.len() {
            ..=MAX_RENDERED_BYTES => Ok(text),
            got => Err(TemplateError::RenderedTooLong { got }),
        }
    }
}

/// A message as `transformers` has it.
fn value(Message { role, content }: Message<'_>, written: &Written) -> Value {
    match written {
        Written::Said => context! { role, content },
        Written::Called(calls) => context! { role, content, tool_calls => of_json_list(calls) },
        Written::Result { call, name: Some(name) } => context! { role, content, tool_call_id => call, name },
        Written::Result { call, name: None } => context! { role, content, tool_call_id => call },
    }
}

fn of_json_list(items: &[Json]) -> Value {
    items.iter().map(of_json).collect()
}

/// By hand and not by `serde`, which shows how `serde_json` keeps numbers of any precision.
fn of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(truth) => Value::from(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Value::from(whole),
            (None, Some(whole)) => Value::from(whole),
            (None, None) => number.as_f64().map_or_else(|| Value::from(number.to_string()), Value::from),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => of_json_list(items),
        Json::Object(fields) => Value::from_pairs(fields.iter().map(|(key, field)| (key.as_str(), of_json(field)))),
    }
}

/// Jinja as `transformers` sets it up.
fn environment(today: Option<Date>) -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the delimiters are the usual ones"));
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |text: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, text))
    });
    if let Some(today) = today {
        environment.add_function("strftime_now", move |format: &str| today.format(format));
    }
    environment.add_filter("tojson", |value: Value, options: Kwargs| -> Result<Value, Error> {
        let json =
            serde_json::to_value(&value).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
        let indent: Option<usize> = options.get("indent")?;
        Ok(Value::from(json::to_python_json(&json, indent.map(|width| width.min(16)))))
    });
    environment
}

/// `transformers` has a block `{% generation %}` that marks what the assistant said, for training; here it is nothing.
fn without_generation_marks(source: &str) -> String {
    let mark = |name| regex::Regex::new(&format!(r"\{{%([-+]?)\s*{name}\s*([-+]?)%\}}")).expect("a constant pattern");
    let source = mark("generation").replace_all(source, "{%${1} if true ${2}%}");
    mark("endgeneration").replace_all(&source, "{%${1} endif ${2}%}").into_owned()
}

fn reason(error: &Error) -> String {
    match error.detail() {
        Some(detail) if error.kind() == ErrorKind::InvalidOperation => detail.to_string(),
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
