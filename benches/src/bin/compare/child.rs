//! Causerie's side: one job in this process.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use causerie_inference::cache::PAGE;
use causerie_inference::measure::Run;
use causerie_inference::scheduler::Speculation;
use causerie_inference::{
    Event, Isa, LoadError, LoadOptions, Model, Request, SamplingOptions, SamplingOverrides, Scheduler,
    SchedulerOptions, SubmitError,
};

use crate::job::{About, Job, Memory, Reply, Score, Task};

/// Tokens of a step of a prompt: what a [`Run`] computes at once.
const STEP: usize = 512;
/// Tokens that are decoded before time counts.
const WARM_UP: usize = 8;

/// Why a job was not done.
#[derive(Debug)]
pub(crate) enum ChildError {
    Job(serde_json::Error),
    Io(io::Error),
    Load(LoadError),
    Submit(SubmitError),
    /// A sequence ended with a fault.
    Sequence(String),
}

impl fmt::Display for ChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(error) => write!(f, "the job cannot be read or answered: {error}"),
            Self::Io(error) => error.fmt(f),
            Self::Load(error) => error.fmt(f),
            Self::Submit(error) => error.fmt(f),
            Self::Sequence(fault) => f.write_str(fault),
        }
    }
}

impl std::error::Error for ChildError {}

impl From<io::Error> for ChildError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<LoadError> for ChildError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

/// Reads a job from standard input, does it, and answers on standard output.
pub(crate) fn run() -> Result<(), ChildError> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let job: Job = serde_json::from_str(&line).map_err(ChildError::Job)?;
    let reply = perform(&job)?;
    let mut line = serde_json::to_string(&reply).map_err(ChildError::Job)?;
    line.push('\n');
    Ok(io::stdout().write_all(line.as_bytes())?)
}

fn perform(job: &Job) -> Result<Reply, ChildError> {
    let threads = Some(job.threads);
    let load = || Model::load(&job.model, &LoadOptions { threads, ..LoadOptions::default() });
    let settled = || {
        let model = load()?;
        model.settle();
        Ok::<_, LoadError>(model)
    };
    Ok(match &job.task {
        Task::About {} => Reply::About(About {
            version: format!("causerie {}", env!("CARGO_PKG_VERSION")),
            features: vec![Isa::choose(None)?.name().to_owned()],
            compiler: env!("CAUSERIE_RUSTC").to_owned(),
        }),
        &Task::Prefill { tokens, passes } => {
            let model = settled()?;
            let mut run = Run::new(&model, threads, tokens, STEP, 1)?;
            run.prefill(0, 0, tokens);
            Reply::Rates((0..passes).map(|_| rate(tokens, || run.prefill(0, 0, tokens))).collect())
        }
        &Task::Decode { depth, tokens, passes } => {
            let model = settled()?;
            let mut run = Run::new(&model, threads, depth + WARM_UP + tokens, STEP, 1)?;
            let mut pass = || {
                run.prefill(0, 0, depth);
                decode(&mut run, 1, depth, WARM_UP);
                rate(tokens, || decode(&mut run, 1, depth + WARM_UP, tokens))
            };
            Reply::Rates((0..passes).map(|_| pass()).collect())
        }
        &Task::Streams { streams, prompt, steps } => {
            let model = settled()?;
            let mut run = Run::new(&model, threads, prompt, STEP, streams)?;
            run.restart(streams, prompt + WARM_UP + steps);
            (0..streams).for_each(|stream| run.prefill(stream, 0, prompt));
            decode(&mut run, streams, prompt, WARM_UP);
            Reply::Rates(vec![rate(streams * steps, || decode(&mut run, streams, prompt + WARM_UP, steps))])
        }
        &Task::FirstToken { prompt, context } => {
            Chats::open(load()?, threads, 1, context)?.answer(prompt, 1)?;
            Reply::FirstToken {}
        }
        &Task::Memory { sequences, context, prompt, steps } => {
            let before = resident()?;
            let mut chats = Chats::open(load()?, threads, sequences, context)?;
            chats.answer(prompt, steps)?;
            Reply::Memory(Memory { before, after: resident()? })
        }
        Task::Scores { step, tokens, wanted } => Reply::Scores(scores(&load()?, threads, *step, tokens, wanted)?),
    })
}

fn decode(run: &mut Run, sequences: usize, position: usize, steps: usize) {
    (position..position + steps).for_each(|position| run.decode(sequences, position));
}

/// How many a second.
fn rate(count: usize, work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    count as f64 / began.elapsed().as_secs_f64()
}

/// Several conversations at once, as the server holds them.
struct Chats {
    scheduler: Scheduler,
    sequences: usize,
    vocabulary: usize,
}

impl Chats {
    /// Room for all sequences to use all of their context.
    fn open(model: Model, threads: Option<usize>, sequences: usize, context: usize) -> Result<Self, LoadError> {
        let pages = sequences * context.div_ceil(PAGE);
        let options = SchedulerOptions {
            threads,
            max_sequences: Some(sequences),
            context: Some(context),
            cache_bytes: Some(pages * model.config().page_shape().page_bytes()),
            speculation: Speculation::Off, // a token a step, as the peer does it
            ..SchedulerOptions::default()
        };
        let vocabulary = model.info().vocabulary_size;
        Ok(Self { scheduler: Scheduler::new(Arc::new(model), &options)?, sequences, vocabulary })
    }

    /// Gives each a prompt, and generates at most `steps` tokens, the likeliest each time.
    fn answer(&mut self, prompt: usize, steps: usize) -> Result<(), ChildError> {
        let greedy = SamplingOverrides { temperature: Some(0.0), ..SamplingOverrides::default() };
        let sampling = SamplingOptions::default().with(&greedy).expect("0 is a temperature");
        for sequence in 0..self.sequences {
            // Some tokens or other, few of them special: the same as on the other side.
            let token = |i: usize| ((100 + (i + sequence) * 7919) % self.vocabulary) as u32;
            let prompt = (0..prompt).map(token).collect();
            let request = Request { prompt, sampling: sampling.clone(), max_tokens: steps, ..Request::default() };
            self.scheduler.submit(request).map_err(ChildError::Submit)?;
        }
        let mut fault = None;
        while self.scheduler.step(&mut |_, event| {
            if let Event::Failed { fault: seen } = event {
                fault = Some(seen.to_string());
            }
        }) {}
        fault.map_or(Ok(()), |fault| Err(ChildError::Sequence(fault)))
    }
}

/// Bytes of this process that are in memory.
fn resident() -> Result<u64, ChildError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|number| number.parse::<u64>().ok());
    let missing = || io::Error::new(io::ErrorKind::InvalidData, "/proc/self/status has no VmRSS in kB");
    Ok(kibibytes.ok_or_else(missing)? * 1024)
}

fn scores(
    model: &Model,
    threads: Option<usize>,
    step: usize,
    tokens: &[u32],
    wanted: &[Vec<u32>],
) -> Result<Vec<Score>, LoadError> {
    let mut run = Run::new(model, threads, tokens.len(), step, step)?;
    let vocabulary = model.info().vocabulary_size;
    let mut scores = Vec::with_capacity(tokens.len());
    for (part, start) in tokens.chunks(step).zip((0..).step_by(step)) {
        for (logits, wanted) in run.logits(start, part).chunks_exact(vocabulary).zip(&wanted[start..]) {
            let logit = |token: u32| f64::from(logits[token as usize]);
            let likeliest = (0..vocabulary as u32).max_by(|&a, &b| logit(a).total_cmp(&logit(b))).unwrap_or(0);
            let peak = logit(likeliest);
            let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - peak).exp()).sum();
            let logits = wanted.iter().map(|&token| logit(token)).collect();
            scores.push(Score { logsumexp: peak + sum.ln(), logits, likeliest });
        }
    }
    Ok(scores)
}
