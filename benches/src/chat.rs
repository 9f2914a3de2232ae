//! One person who asks in a session.

use std::error::Error;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use smol::channel::{Receiver, unbounded};
use smol::future::or;
use smol::{LocalExecutor, Timer};

use crate::socket::{Event, Socket, What};
use crate::{PATIENCE, Server};

/// One answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// From the question's sending to the first piece of text.
    pub first: Duration,
    /// Tokens, as the server counted them.
    pub tokens: u64,
}

/// A person in a session of their own.
#[derive(Debug)]
pub struct Chat {
    socket: Socket,
    events: Receiver<Event>,
}

impl Chat {
    /// Connects and asks for a session, without waiting for it.
    ///
    /// # Errors
    /// When there is no token or no connection to be had.
    pub async fn open(executor: &LocalExecutor<'static>, server: &Server, user: &str) -> Result<Chat, Box<dyn Error>> {
        let (sender, events) = unbounded();
        let socket = Socket::open(executor, server.address(), &server.token(user)?, 0, sender).await?;
        let mut chat = Chat { socket, events };
        chat.send(&json!({ "type": "create_session" })).await?;
        Ok(chat)
    }

    /// Waits until the session is there.
    ///
    /// # Errors
    /// When the connection breaks, or nothing comes within [`PATIENCE`].
    pub async fn joined(&self) -> Result<(), String> {
        while !matches!(self.next().await?.what, What::Joined(_)) {}
        Ok(())
    }

    /// Asks, and waits for the end of the answer, which is greedy and has at most so many tokens.
    ///
    /// # Errors
    /// When the connection breaks, something else comes, or nothing within [`PATIENCE`].
    pub async fn ask(&mut self, question: &str, tokens: u32) -> Result<Answer, String> {
        let asked = Instant::now();
        let sampling = json!({ "temperature": 0, "max_tokens": tokens });
        self.send(&json!({ "type": "chat_message", "message": question, "sampling": sampling })).await?;
        let mut first = None;
        loop {
            let event = self.next().await?;
            match event.what {
                What::Established | What::Joined(_) => {}
                What::Delta => _ = first.get_or_insert(event.at - asked),
                What::Answer(tokens) => return Ok(Answer { first: first.unwrap_or(event.at - asked), tokens }),
                other => return Err(format!("instead of an answer came {other:?}")),
            }
        }
    }

    async fn send(&mut self, frame: &Value) -> Result<(), String> {
        self.socket.send(frame).await.map_err(|error| error.to_string())
    }

    async fn next(&self) -> Result<Event, String> {
        let late = async {
            Timer::after(PATIENCE).await;
            Err(format!("causerie says nothing for {PATIENCE:?}"))
        };
        let event = or(async { self.events.recv().await.map_err(|_| "a socket is gone".to_owned()) }, late).await?;
        match event.what {
            What::Broken(why) => Err(why),
            _ => Ok(event),
        }
    }
}
