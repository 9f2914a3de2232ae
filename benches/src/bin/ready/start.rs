//! Starting a server, again and again.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use causerie_benches::{Chat, Server, Start};
use serde::Serialize;
use smol::LocalExecutor;

/// Milliseconds from the process' start.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Times {
    /// It listens and has said where.
    pub(crate) listening: Vec<f64>,
    /// `/health` answers 200: the model can be asked.
    pub(crate) ready: Vec<f64>,
    /// The first piece of an answer has come, to a client that connected when it was ready.
    pub(crate) first_token: Vec<f64>,
}

/// How often what is started, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starts<'a> {
    pub(crate) program: &'a Path,
    pub(crate) model: &'a Path,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) conversations: usize,
    pub(crate) rounds: usize,
}

impl Starts<'_> {
    /// With an empty data directory, and with one in which conversations are saved; in turn.
    pub(crate) fn measure(&self) -> Result<(Times, Times), Box<dyn Error>> {
        let kept = std::env::temp_dir().join(format!("causerie-ready-{}", std::process::id()));
        let measured = self.measure_with(&kept);
        let _ = std::fs::remove_dir_all(&kept);
        measured
    }

    fn measure_with(&self, kept: &Path) -> Result<(Times, Times), Box<dyn Error>> {
        let (new, again) = (None, Some(kept));
        let server = self.start(again)?;
        server.wait_until_ready()?;
        for number in 0..self.conversations {
            first_token(&server, &format!("person{number}"), 128)?;
        }
        server.stop()?;
        let mut times = (Times::default(), Times::default());
        for _ in 0..self.rounds {
            self.once(new, &mut times.0)?;
            self.once(again, &mut times.1)?;
        }
        Ok(times)
    }

    fn start(&self, data_dir: Option<&Path>) -> Result<Server, Box<dyn Error>> {
        let start = Start { model: Some(self.model), data_dir, arguments: self.arguments };
        Server::start(self.program.to_owned(), start)
    }

    fn once(&self, data_dir: Option<&Path>, times: &mut Times) -> Result<(), Box<dyn Error>> {
        let server = self.start(data_dir)?;
        let since_start = |at: Instant| (at - server.started()).as_secs_f64() * 1e3;
        times.listening.push(since_start(Instant::now()));
        times.ready.push(server.wait_until_ready()?.as_secs_f64() * 1e3);
        times.first_token.push(since_start(first_token(&server, "first", 1)?));
        server.stop()?;
        Ok(())
    }
}

/// Somebody new asks for an answer of so many tokens, and waits for its end: when its first piece came.
fn first_token(server: &Server, user: &str, tokens: u32) -> Result<Instant, Box<dyn Error>> {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let mut chat = Chat::open(&executor, server, user).await?;
        let asked = Instant::now();
        let answer = chat.ask("Why is the sky blue?", tokens).await?;
        Ok(asked + answer.first)
    }))
}
