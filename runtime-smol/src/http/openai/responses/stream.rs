//! A response piece by piece: events with names, in the order that OpenAI's clients build a response from.

use serde_json::{Value, json};

use super::super::calls::Piece;
use super::super::choices::Choices;
use super::super::id;
use super::super::reply::Reply;
use super::super::sse::{EventStream, Gone};
use super::{Asked, function_call, message, part};

/// What is being written.
struct Feed<'a> {
    events: &'a EventStream,
    /// Of the next event.
    number: u64,
    /// Items that are whole.
    output: Vec<Value>,
    /// The item that is being written, by its id.
    open: Option<Open>,
}

enum Open {
    Message {
        id: String,
        text: String,
    },
    /// With its place among the calls.
    Call {
        id: String,
        place: usize,
    },
}

/// Writes all events.
pub(super) async fn feed(events: &EventStream, asked: &Asked, mut choices: Choices) -> Result<(), Gone> {
    let mut feed = Feed { events, number: 0, output: Vec::new(), open: None };
    for kind in ["response.created", "response.in_progress"] {
        feed.send(kind, json!({ "response": asked.object("in_progress", &[]) })).await?;
    }
    let mut reply = Reply::new(asked.names.clone(), false);
    while let Some(event) = events.wait(choices.next()).await? {
        let event = match event {
            Ok((_, event)) => event,
            Err(error) => {
                let mut response = asked.object("failed", &feed.output);
                response["error"] = error.inner();
                return feed.send("response.failed", json!({ "response": response })).await;
            }
        };
        for (call, piece) in reply.take(event) {
            feed.piece(piece, call, &reply).await?;
        }
    }
    let cut = reply.finish == Some("length");
    if feed.open.is_none() && feed.output.is_empty() {
        feed.open_message().await?;
    }
    feed.close(&reply, if cut { "incomplete" } else { "completed" }).await?;
    let response = asked.ended(&reply, &feed.output, &choices);
    let kind = if cut { "response.incomplete" } else { "response.completed" };
    feed.send(kind, json!({ "response": response })).await
}

impl Feed<'_> {
    async fn send(&mut self, kind: &str, mut event: Value) -> Result<(), Gone> {
        event["type"] = json!(kind);
        event["sequence_number"] = json!(self.number);
        self.number += 1;
        self.events.event(kind, &event).await
    }

    async fn piece(&mut self, piece: Piece, call: usize, reply: &Reply) -> Result<(), Gone> {
        match piece {
            Piece::Text(more) => {
                if !matches!(self.open, Some(Open::Message { .. })) {
                    self.close(reply, "completed").await?;
                    self.open_message().await?;
                }
                let Some(Open::Message { id, text }) = &mut self.open else { unreachable!("it was just opened") };
                text.push_str(&more);
                let delta = json!({
                    "item_id": id, "output_index": self.output.len(), "content_index": 0, "delta": more, "logprobs": [],
                });
                self.send("response.output_text.delta", delta).await
            }
            Piece::Call(_) => {
                self.close(reply, "completed").await?;
                let id = id("fc_");
                let mut item = function_call(&id, "in_progress", &reply.calls[call]);
                item["arguments"] = json!("");
                self.open = Some(Open::Call { id, place: call });
                let added = json!({ "output_index": self.output.len(), "item": item });
                self.send("response.output_item.added", added).await
            }
            Piece::Arguments(more) => {
                let Some(Open::Call { id, .. }) = &self.open else { return Ok(()) };
                let delta = json!({ "item_id": id, "output_index": self.output.len(), "delta": more });
                self.send("response.function_call_arguments.delta", delta).await
            }
        }
    }

    async fn open_message(&mut self) -> Result<(), Gone> {
        let id = id("msg_");
        let place = self.output.len();
        let item = message(&id, "in_progress", &[]);
        self.send("response.output_item.added", json!({ "output_index": place, "item": item })).await?;
        let added = json!({ "item_id": id, "output_index": place, "content_index": 0, "part": part("") });
        self.send("response.content_part.added", added).await?;
        self.open = Some(Open::Message { id, text: String::new() });
        Ok(())
    }

    /// Ends the open item, if there is one.
    async fn close(&mut self, reply: &Reply, status: &str) -> Result<(), Gone> {
        let place = self.output.len();
        let item = match self.open.take() {
            None => return Ok(()),
            Some(Open::Message { id, text }) => {
                let at =
                    json!({ "item_id": id, "output_index": place, "content_index": 0, "text": text, "logprobs": [] });
                self.send("response.output_text.done", at).await?;
                let at = json!({ "item_id": id, "output_index": place, "content_index": 0, "part": part(&text) });
                self.send("response.content_part.done", at).await?;
                message(&id, status, &[part(&text)])
            }
            Some(Open::Call { id, place: call }) => {
                let call = &reply.calls[call];
                let done = json!({
                    "item_id": id, "output_index": place, "name": call.name, "arguments": call.arguments,
                });
                self.send("response.function_call_arguments.done", done).await?;
                function_call(&id, status, call)
            }
        };
        self.send("response.output_item.done", json!({ "output_index": place, "item": item })).await?;
        self.output.push(item);
        Ok(())
    }
}
