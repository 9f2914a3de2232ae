//! Every frame as a type for [serde], and its JSON Schema (feature `schema`).
//!
//! For clients in Rust, and for all who want to check frames. The hub itself reads and writes frames by hand, which is
//! faster and refuses with better words; tests prove that both mean the same.
//!
//! ```
//! use causerie_core::schema::{ClientFrame, ServerFrame, client};
//!
//! let ask = ClientFrame::ChatMessage(client::ChatMessage { message: "Hello".into(), ..Default::default() });
//! assert_eq!(serde_json::to_string(&ask)?, r#"{"type":"chat_message","message":"Hello"}"#);
//!
//! let told = r#"{"type":"pong","timestamp":"2026-01-01T00:00:00.000000Z","new":"is passed over"}"#;
//! match serde_json::from_str(told)? {
//!     ServerFrame::Pong(pong) => assert_eq!(pong.timestamp, "2026-01-01T00:00:00.000000Z"),
//!     other => println!("{}", other.kind()),
//! }
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! A client must pass over fields and frames that it does not know, so that servers can learn new ones: fields are
//! passed over here, and for a frame of an unknown `type` the error says so.
//!
//! [`client_schema`] and [`server_schema`] are what `docs/schema` holds as files.

pub mod client;
mod document;
mod part;
pub mod server;

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod strategy;

use alloc::format;
use alloc::string::String;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::wire::kind::{client_frames, server_frames};

pub use document::{client_schema, server_schema};
pub use part::{
    FinishReason, FrameId, Participant, PresenceEvent, Role, Sampling, SessionEntry, Since, Speaker, Stop, Timings,
    Usage,
};

/// Makes the enum of all frames of one direction, told apart by their `type`.
///
/// Reading goes through a [`Value`]: serde's own way for tagged enums does not work when another crate of the build
/// switches on `arbitrary_precision` in serde_json.
macro_rules! frames {
    ($(#[$meta:meta])* $name:ident of $module:ident { $($variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(tag = "type")]
        #[non_exhaustive]
        pub enum $name {
            $(
                #[doc = concat!("`", $text, "`")]
                #[serde(rename = $text)]
                $variant($module::$variant),
            )+
        }

        impl $name {
            /// The `type` of every frame, in the order of the specification.
            pub const TYPES: &'static [&'static str] = &[$($text,)+];

            /// Its `type` on the wire.
            pub fn kind(&self) -> &'static str {
                match self {
                    $($name::$variant(_) => $text,)+
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let value = Value::deserialize(deserializer)?;
                let kind = value.get("type").and_then(Value::as_str).map(String::from);
                match kind.as_deref() {
                    $(Some($text) => $module::$variant::deserialize(value).map($name::$variant).map_err(D::Error::custom),)+
                    Some(other) => Err(D::Error::unknown_variant(other, $name::TYPES)),
                    None => Err(D::Error::missing_field("type")),
                }
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> alloc::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let frames = [$(define::<$module::$variant>(generator, $text),)+];
                json_schema!({ "oneOf": frames })
            }
        }
    };
}

client_frames! {
    frames! {
        /// What a client sends.
        ClientFrame of client
    }
}

server_frames! {
    frames! {
        /// What the server sends.
        ServerFrame of server
    }
}

/// Puts a frame's schema among the definitions, under its `type`, and gives a reference to it.
fn define<T: JsonSchema>(generator: &mut SchemaGenerator, kind: &str) -> Schema {
    let mut schema = T::json_schema(generator);
    document::tag(&mut schema, kind);
    generator.definitions_mut().insert(kind.into(), schema.into());
    json_schema!({ "$ref": format!("#/$defs/{kind}") })
}
