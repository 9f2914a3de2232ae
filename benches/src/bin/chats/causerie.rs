//! Chats over Causerie's WebSocket.

use std::error::Error;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use causerie_benches::{Chat, Server, Start};
use smol::{LocalExecutor, Timer};

use crate::people::{Plan, REST, WARM_UP};
use crate::{Measured, block_on};

/// Starts a server and chats with it.
pub(crate) fn measure(
    program: &Path,
    model: &Path,
    threads: usize,
    speculate: &str,
    plan: &Plan,
) -> Result<Measured, Box<dyn Error>> {
    let threads = threads.to_string();
    let arguments = ["--threads", &threads, "--speculate", speculate];
    let start = Start { model: Some(model), arguments: &arguments, ..Start::default() };
    let server = Server::start(program.to_owned(), start)?;
    server.wait_until_ready()?;
    block_on(async |executor| chats(&executor, &server, plan).await)
}

async fn chats(
    executor: &Rc<LocalExecutor<'static>>,
    server: &Server,
    plan: &Plan,
) -> Result<Measured, Box<dyn Error>> {
    Chat::open(executor, server, "warm").await?.ask(WARM_UP, plan.tokens).await?;
    Timer::after(REST).await;
    let mut chats = Vec::new();
    for number in 0..plan.people {
        chats.push(Chat::open(executor, server, &format!("person{number}")).await?);
    }
    for chat in &chats {
        chat.joined().await?;
    }
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for (mut chat, questions) in chats.into_iter().zip(plan.conversations()) {
        let tokens = plan.tokens;
        tasks.push(executor.spawn(async move {
            let mut answers = Vec::new();
            for question in questions {
                answers.push(chat.ask(question, tokens).await?);
            }
            Ok::<_, String>(answers)
        }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await?);
    }
    Ok(Measured::of(begun.elapsed(), &answers))
}
