//! Clients that all want answers all the time, and how fairly they get them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::time::{Duration, Instant};

use causerie_benches::socket::What;
use causerie_benches::{jain, quantile};
use serde::Serialize;
use serde_json::json;
use smol::Timer;
use smol::future::or;

use crate::load::{Load, micros};

/// Between a pong and the next ping: pings in a tight loop would take a core from those who chat.
const PING_PAUSE: Duration = Duration::from_millis(10);

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// How many chat.
    pub(crate) clients: usize,
    /// For how long.
    pub(crate) time: Duration,
    /// The length of an answer.
    pub(crate) tokens: u32,
}

/// How the clients fared, while the idle sockets were pinged. Each asks, and asks again when it has its answer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Chat {
    pub(crate) clients: usize,
    pub(crate) seconds: f64,
    /// Tokens of whole answers a second, of all together.
    pub(crate) tokens_per_second: f64,
    /// Clients that got no piece of an answer.
    pub(crate) starved: usize,
    /// Answers of each client; sorted.
    #[serde(skip)]
    pub(crate) answers: Vec<f64>,
    /// Tokens of each client's answers; sorted.
    #[serde(skip)]
    pub(crate) tokens: Vec<f64>,
    /// Jain's index of what the clients got, in tokens. Answers count when they are whole, so that it is below 1 even when
    /// all have their turns in order: some have one answer more than others.
    pub(crate) jain: f64,
    /// Jain's index of how long the clients waited for their first pieces, each client's waits together.
    pub(crate) jain_of_waits: f64,
    /// The longest wait for a first piece, those included that had not ended at the end, in medians.
    pub(crate) longest_wait_in_medians: f64,
    /// Times that a client was told to come again later, and did.
    pub(crate) refusals: usize,
    /// Milliseconds from a question to the first piece of its answer, refusals included; sorted.
    #[serde(skip)]
    pub(crate) first_piece: Vec<f64>,
    /// Microseconds from an idle socket's ping to its pong, one after the other; sorted.
    #[serde(skip)]
    pub(crate) pings: Vec<f64>,
}

/// One client.
struct Client {
    /// Its last question, and whether a piece of the answer has come.
    asked: Instant,
    heard: bool,
    /// Milliseconds that it has waited for first pieces.
    waited: f64,
    answers: u32,
    tokens: u64,
}

impl Load<'_> {
    /// Opens sockets that ask the model for as long as is wanted, and pings the others meanwhile.
    pub(crate) async fn chat(&mut self, wanted: &Wanted) -> Result<Chat, Box<dyn Error>> {
        let idle = self.sockets.len();
        for number in 0..wanted.clients {
            let token = self.server.token(&format!("active{number}"))?;
            let index = self.open(&token).await?;
            self.join(index, &json!({ "type": "create_session" })).await?;
        }
        let begun = Instant::now();
        let mut clients = Vec::new();
        for index in idle..idle + wanted.clients {
            clients.push(Client { asked: Instant::now(), heard: false, waited: 0.0, answers: 0, tokens: 0 });
            self.ask(index, wanted).await?;
        }
        let (mut pings, mut waiting, mut refusals, mut first_piece) = (Vec::new(), None, 0, Vec::new());
        let mut again: BinaryHeap<Reverse<(Instant, usize)>> = BinaryHeap::new();
        let (end, mut ping_at) = (begun + wanted.time, begun);
        while begun.elapsed() < wanted.time {
            if waiting.is_none() && idle > 0 && ping_at <= Instant::now() {
                waiting = Some(Instant::now());
                self.sockets[pings.len() % idle].send(&json!({ "type": "ping" })).await?;
            }
            let due = again.peek().map(|&Reverse((at, _))| at);
            let ping = if waiting.is_none() && idle > 0 { ping_at } else { end };
            let next = or(async { Some(self.next().await) }, async {
                Timer::at(due.unwrap_or(end).min(ping).min(end)).await;
                None
            });
            let Some(event) = next.await else {
                if due.is_some_and(|at| at <= Instant::now())
                    && let Some(Reverse((_, index))) = again.pop()
                {
                    // Its question is stored: only the answer is still to come.
                    self.sockets[index].send(&json!({ "type": "regenerate", "sampling": sampling(wanted) })).await?;
                }
                continue;
            };
            let event = event?;
            if let What::Pong = event.what {
                pings.extend(waiting.take().map(|sent| micros(event.at - sent)));
                ping_at = event.at + PING_PAUSE;
                continue;
            }
            let client = event.index.checked_sub(idle).and_then(|number| clients.get_mut(number));
            match (event.what, client) {
                (What::Delta, Some(client)) => {
                    if !std::mem::replace(&mut client.heard, true) {
                        let wait = micros(event.at - client.asked) / 1e3;
                        client.waited += wait;
                        first_piece.push(wait);
                    }
                }
                (What::Answer(tokens), Some(client)) => {
                    (client.answers, client.tokens) = (client.answers + 1, client.tokens + tokens);
                    (client.asked, client.heard) = (Instant::now(), false);
                    self.ask(event.index, wanted).await?;
                }
                (What::Later(wait), Some(_)) => {
                    refusals += 1;
                    again.push(Reverse((Instant::now() + wait, event.index)));
                }
                (other, _) => return Err(format!("socket {} got {other:?}", event.index).into()),
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Chat { refusals, ..Chat::of(&clients, seconds, first_piece, pings) })
    }

    async fn ask(&mut self, index: usize, wanted: &Wanted) -> Result<(), Box<dyn Error>> {
        let frame = json!({ "type": "chat_message", "message": "Write a short story about the sea.",
                            "sampling": sampling(wanted) });
        Ok(self.sockets[index].send(&frame).await?)
    }
}

fn sampling(wanted: &Wanted) -> serde_json::Value {
    json!({ "temperature": 0, "max_tokens": wanted.tokens })
}

impl Chat {
    fn of(clients: &[Client], seconds: f64, mut first_piece: Vec<f64>, mut pings: Vec<f64>) -> Chat {
        let still = |client: &Client| if client.heard { 0.0 } else { micros(client.asked.elapsed()) / 1e3 };
        let waits: Vec<f64> = clients.iter().map(|client| client.waited + still(client)).collect();
        let longest = clients.iter().map(still).chain(first_piece.iter().copied()).fold(0.0, f64::max);
        let mut answers: Vec<f64> = clients.iter().map(|client| f64::from(client.answers)).collect();
        let mut tokens: Vec<f64> = clients.iter().map(|client| client.tokens as f64).collect();
        for sorted in [&mut answers, &mut tokens, &mut first_piece, &mut pings] {
            sorted.sort_by(f64::total_cmp);
        }
        Chat {
            clients: clients.len(),
            seconds,
            tokens_per_second: tokens.iter().sum::<f64>() / seconds,
            starved: clients.iter().filter(|client| client.answers == 0 && !client.heard).count(),
            jain: jain(&tokens),
            jain_of_waits: jain(&waits),
            longest_wait_in_medians: longest / quantile(&first_piece, 0.5),
            refusals: 0,
            answers,
            tokens,
            first_piece,
            pings,
        }
    }
}
