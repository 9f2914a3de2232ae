//! A whole chat in one file: the hub, storage in memory, a model that repeats what it is told, and you at the keyboard.
//!
//! ```text
//! cargo run -p causerie-core --example embedding
//! ```

use std::collections::HashMap;
use std::io::{self, BufRead};

use causerie_core::limits::Limits;
use causerie_core::{
    ConnectionId, FinishReason, GenerationId, Hub, Identity, Input, Instant, MessageId, Options, Output, RequestId,
    Role, Timings, UnixMicros, Usage, Write,
};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut chat = Chat::new()?;
    chat.say(&json!({"type": "create_session", "title": "Echo"}))?;
    for line in io::stdin().lock().lines() {
        chat.say(&json!({"type": "chat_message", "message": line?}))?;
        for frame in chat.shown.drain(..) {
            println!("{frame}");
        }
    }
    Ok(())
}

// ANCHOR: world
/// Everything that is not the hub's: one user's connection, what is stored, and the clock, which stands still.
struct Chat {
    hub: Hub,
    you: ConnectionId,
    messages: HashMap<MessageId, String>,
    shown: Vec<String>,
}

/// What the hub asked for, and waits to hear of.
enum Todo {
    Stored(RequestId),
    NotLoaded(RequestId),
    Answer(GenerationId, String),
}
// ANCHOR_END: world

const NOW: Instant = Instant::ZERO;

impl Chat {
    // ANCHOR: begin
    fn new() -> Result<Chat, Box<dyn std::error::Error>> {
        let mut hub = Hub::new(Options {
            seed: [7; 32], // from the operating system, in a program that others use
            wall_clock: UnixMicros(1_767_225_600_000_000),
            server: "embedding 1.0".into(),
            limits: Limits::default(),
        });
        hub.handle(NOW, Input::BackendUp { model: "echo" })?;
        let connection = hub.connect(NOW)?;
        let identity = Identity {
            user_id: "u-1".into(),
            username: "Ann".into(),
            role: Role::User,
            expires: Instant::from_micros(u64::MAX),
        };
        hub.handle(NOW, Input::Writable { connection, credit: u32::MAX })?;
        hub.handle(NOW, Input::Authenticated { connection, identity })?;
        Ok(Chat { hub, you: connection, messages: HashMap::new(), shown: Vec::new() })
    }
    // ANCHOR_END: begin

    // ANCHOR: loop
    /// A frame of yours, and all that comes of it.
    fn say(&mut self, frame: &Value) -> Result<(), Box<dyn std::error::Error>> {
        self.hub.handle(NOW, Input::Frame { connection: self.you, text: &frame.to_string() })?;
        loop {
            let mut todo = Vec::new();
            let Chat { hub, messages, shown, .. } = self;
            while hub.poll(&mut |output| match output {
                Output::Send { frame, .. } => shown.push(frame.to_string()),
                Output::Store { request, write } => {
                    if let Write::Message(message) = write {
                        messages.insert(message.id, message.content.clone());
                    }
                    todo.push(Todo::Stored(request));
                }
                Output::Load { request, .. } => todo.push(Todo::NotLoaded(request)),
                Output::Generate { generation, prompt, .. } => {
                    todo.push(Todo::Answer(generation, messages.get(&prompt).cloned().unwrap_or_default()));
                }
                _ => {}
            }) {}
            if todo.is_empty() {
                return Ok(());
            }
            for task in todo {
                self.tell(task)?;
            }
        }
    }
    // ANCHOR_END: loop

    // ANCHOR: tell
    fn tell(&mut self, task: Todo) -> Result<(), Box<dyn std::error::Error>> {
        match task {
            Todo::Stored(request) => self.hub.handle(NOW, Input::Stored { request })?,
            Todo::NotLoaded(request) => self.hub.handle(NOW, Input::LoadFailed { request })?,
            Todo::Answer(generation, text) => {
                for word in text.split_inclusive(' ') {
                    self.hub.handle(NOW, Input::Token { generation, text: word })?;
                }
                let (reason, usage, timings) = (FinishReason::Stop, Usage::default(), Timings::default());
                self.hub.handle(NOW, Input::Generated { generation, reason, usage, timings })?;
            }
        }
        Ok(())
    }
    // ANCHOR_END: tell
}

#[test]
fn what_is_said_is_answered() -> Result<(), Box<dyn std::error::Error>> {
    let mut chat = Chat::new()?;
    chat.say(&json!({"type": "create_session"}))?;
    chat.say(&json!({"type": "chat_message", "message": "Good \"day\""}))?;
    let frames: Vec<Value> = chat.shown.iter().map(|frame| serde_json::from_str(frame)).collect::<Result<_, _>>()?;
    let kinds: Vec<_> = frames.iter().filter_map(|frame| frame["type"].as_str()).collect();
    let begin = ["connection_established", "session_joined", "ack", "message", "typing"];
    assert_eq!(kinds[..5], begin, "{frames:?}");
    let answer = frames.iter().find(|frame| frame["type"] == "message" && frame["role"] == "assistant");
    assert_eq!(answer.map(|frame| frame["content"].clone()), Some(json!("Good \"day\"")));
    Ok(())
}
