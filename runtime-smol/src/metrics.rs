//! What the server counts, for `/metrics` and the admin page.
//!
//! Counting is what is done while tokens flow: an atomic, or a short look into a histogram. What is only a state, as the
//! number of connections, is read when somebody asks.

mod recent;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use causerie_core::{Counts, ErrorCode, GenerationId, Usage};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use serde_json::{Value, json};

use recent::Recent;

/// One label and its value.
type Label = [(&'static str, &'static str); 1];

/// Bounds of times to the first token, in seconds: from a prompt that is in the cache to a queue of some minutes.
const FIRST_TOKEN: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];

/// Bounds of times between two pieces of an answer, in seconds.
const BETWEEN_TOKENS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 1.0, 5.0];

/// Bounds of times of storage, in seconds: from a read of what is in memory to a disk that hangs.
const STORAGE: [f64; 12] = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

/// What the inference thread has at the moment; it writes, others read.
#[derive(Debug, Default)]
pub(crate) struct EngineLoad {
    running: AtomicUsize,
    waiting: AtomicUsize,
    pages: AtomicUsize,
    pages_limit: AtomicUsize,
    context: AtomicUsize,
}

impl EngineLoad {
    /// After a step: sequences that run and wait, pages of keys and values in use and their limit.
    pub(crate) fn set(&self, (running, waiting): (usize, usize), (pages, pages_limit): (usize, usize)) {
        self.running.store(running, Ordering::Relaxed);
        self.waiting.store(waiting, Ordering::Relaxed);
        self.pages.store(pages, Ordering::Relaxed);
        self.pages_limit.store(pages_limit, Ordering::Relaxed);
    }

    /// Tokens of one conversation with the model that is there now.
    pub(crate) fn set_context(&self, context: usize) {
        self.context.store(context, Ordering::Relaxed);
    }

    /// Sequences that run and wait, pages in use and their limit, tokens of one conversation.
    pub(crate) fn counts(&self) -> [usize; 5] {
        [&self.running, &self.waiting, &self.pages, &self.pages_limit, &self.context]
            .map(|count| count.load(Ordering::Relaxed))
    }
}

/// All of it. It lives on the network thread; what other threads count they share.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    started: Instant,
    // Counted where it happens.
    prompt_tokens: Counter,
    cached_tokens: Counter,
    completion_tokens: Counter,
    answers: Family<Label, Counter>,
    first_token: Histogram,
    between_tokens: Histogram,
    errors: Family<Label, Counter>,
    requests: Family<Vec<(&'static str, String)>, Counter>,
    /// Of storage: written by its thread.
    storage: Histogram,
    // Read when somebody asks.
    engine: Arc<EngineLoad>,
    counts: Cell<Counts>,
    gauges: Gauges,
    // For the admin page: the last of each, in milliseconds.
    recent_first: RefCell<Recent>,
    recent_between: RefCell<Recent>,
    /// When each running answer of a chat has said something last.
    said: RefCell<HashMap<GenerationId, Instant>>,
}

/// What is set right before it is shown.
#[derive(Debug, Default)]
struct Gauges {
    connections: Gauge,
    sockets: Gauge,
    users: Gauge,
    sessions: Gauge,
    running: Gauge,
    waiting: Gauge,
    pages: Gauge,
    pages_limit: Gauge,
    storage_queue: Gauge,
    memory: Gauge,
}

/// What only others know when somebody asks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now {
    /// TCP connections open.
    pub(crate) sockets: usize,
    /// What waits for storage.
    pub(crate) storage_queue: usize,
}

impl Metrics {
    /// With everything at its beginning.
    pub(crate) fn new(engine: Arc<EngineLoad>) -> Metrics {
        let metrics = Metrics {
            registry: Registry::with_prefix("causerie"),
            started: Instant::now(),
            prompt_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            completion_tokens: Counter::default(),
            answers: Family::default(),
            first_token: Histogram::new(FIRST_TOKEN),
            between_tokens: Histogram::new(BETWEEN_TOKENS),
            errors: Family::default(),
            requests: Family::default(),
            storage: Histogram::new(STORAGE),
            engine,
            counts: Cell::default(),
            gauges: Gauges::default(),
            recent_first: RefCell::default(),
            recent_between: RefCell::default(),
            said: RefCell::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Metrics {
        let registry = &mut self.registry;
        let gauges = &self.gauges;
        for (name, help, gauge) in [
            ("connections", "WebSocket connections open", &gauges.connections),
            ("sockets", "TCP connections open, HTTP and WebSocket", &gauges.sockets),
            ("users", "People with a WebSocket open", &gauges.users),
            ("sessions", "Sessions in memory", &gauges.sessions),
            ("running_answers", "Answers that are being generated", &gauges.running),
            ("queue_length", "Answers that wait for their turn", &gauges.waiting),
            ("kv_pages", "Pages of keys and values in use, of 64 tokens each", &gauges.pages),
            ("kv_pages_limit", "Pages of keys and values that there may be", &gauges.pages_limit),
            ("storage_queue_length", "Jobs and questions that wait for storage", &gauges.storage_queue),
        ] {
            registry.register(name, help, gauge.clone());
        }
        registry.register_with_unit("memory", "Memory of the process", Unit::Bytes, gauges.memory.clone());
        registry.register("prompt_tokens", "Tokens of prompts", self.prompt_tokens.clone());
        registry.register("cached_tokens", "Tokens of prompts that were in the cache", self.cached_tokens.clone());
        registry.register("completion_tokens", "Tokens of answers", self.completion_tokens.clone());
        registry.register("answers", "Answers that ended, by where they were asked for", self.answers.clone());
        registry.register("errors", "Errors that clients were told, by code", self.errors.clone());
        registry.register("http_requests", "HTTP requests, by route and status", self.requests.clone());
        let seconds = |registry: &mut Registry, name, help, histogram: &Histogram| {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        };
        seconds(registry, "first_token", "From a question to the first token of its answer", &self.first_token);
        seconds(registry, "between_tokens", "Between two pieces of an answer", &self.between_tokens);
        seconds(registry, "storage", "What a commit or a question took storage", &self.storage);
        let start = Gauge::<i64>::default();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        start.set(i64::try_from(since).unwrap_or(i64::MAX));
        seconds_gauge(registry, start);
        self
    }

    /// For the storage thread.
    pub(crate) fn storage(&self) -> Histogram {
        self.storage.clone()
    }

    /// What the hub holds now.
    pub(crate) fn set_counts(&self, counts: Counts) {
        self.counts.set(counts);
    }

    /// An answer in a chat has said something.
    pub(crate) fn said(&self, generation: GenerationId) {
        let now = Instant::now();
        if let Some(before) = self.said.borrow_mut().insert(generation, now) {
            self.paused(now.duration_since(before));
        }
    }

    /// So long it was from one piece of an answer to the next.
    pub(crate) fn paused(&self, pause: Duration) {
        let seconds = pause.as_secs_f64();
        self.between_tokens.observe(seconds);
        self.recent_between.borrow_mut().push(seconds);
    }

    /// An answer in a chat has ended, however.
    pub(crate) fn fell_silent(&self, generation: GenerationId) {
        self.said.borrow_mut().remove(&generation);
    }

    /// An answer was made, or all that one request asked for.
    pub(crate) fn answered(&self, whence: Whence, usage: Usage) {
        self.answers.get_or_create(&[("source", whence.name())]).inc();
        self.prompt_tokens.inc_by(u64::from(usage.prompt_tokens));
        self.cached_tokens.inc_by(u64::from(usage.cached_tokens));
        self.completion_tokens.inc_by(u64::from(usage.completion_tokens));
    }

    /// An answer has ended whose first token came so many seconds after its question; 0 for one without tokens.
    pub(crate) fn began(&self, seconds: f64) {
        if seconds > 0.0 && seconds.is_finite() {
            self.first_token.observe(seconds);
            self.recent_first.borrow_mut().push(seconds);
        }
    }

    /// Clients were told an error.
    pub(crate) fn error(&self, code: &'static str) {
        self.errors.get_or_create(&[("code", code)]).inc();
    }

    /// A frame of the hub's goes out; whether it is an error is seen from its first bytes, as the core writes them.
    pub(crate) fn sent(&self, frame: &str) {
        if !frame.starts_with(r#"{"type":"error""#) {
            return;
        }
        // No text of anybody's can look like this: in a string, quotes are escaped.
        let code = frame.split_once(r#","code":""#).and_then(|(_, rest)| rest.split_once('"'));
        if let Some(code) = code.and_then(|(code, _)| code.parse::<ErrorCode>().ok()) {
            self.error(code.as_str());
        }
    }

    /// An HTTP request was answered.
    pub(crate) fn requested(&self, route: &'static str, status: u16) {
        self.requests.get_or_create(&vec![("route", route.to_owned()), ("status", status.to_string())]).inc();
    }

    fn refresh(&self, now: Now) {
        let gauges = &self.gauges;
        let counts = self.counts.get();
        let load = |value: &AtomicUsize| value.load(Ordering::Relaxed);
        for (gauge, value) in [
            (&gauges.connections, counts.connections),
            (&gauges.users, counts.users),
            (&gauges.sessions, counts.sessions),
            (&gauges.sockets, now.sockets),
            (&gauges.storage_queue, now.storage_queue),
            (&gauges.running, load(&self.engine.running)),
            (&gauges.waiting, load(&self.engine.waiting)),
            (&gauges.pages, load(&self.engine.pages)),
            (&gauges.pages_limit, load(&self.engine.pages_limit)),
            (&gauges.memory, memory().unwrap_or(0)),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    /// All of it in the text format of OpenMetrics, which Prometheus reads.
    pub(crate) fn text(&self, now: Now) -> String {
        self.refresh(now);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }

    /// What the admin page shows.
    pub(crate) fn figures(&self, now: Now) -> Value {
        self.refresh(now);
        let gauges = &self.gauges;
        let [first, between] = [&self.recent_first, &self.recent_between].map(|recent| recent.borrow().quantiles());
        json!({
            "uptime_s": self.started.elapsed().as_secs(),
            "connections": gauges.connections.get(),
            "users": gauges.users.get(),
            "sessions": gauges.sessions.get(),
            "running": gauges.running.get(),
            "waiting": gauges.waiting.get(),
            "kv_pages": gauges.pages.get(),
            "kv_pages_limit": gauges.pages_limit.get(),
            "storage_queue": gauges.storage_queue.get(),
            "memory_bytes": gauges.memory.get(),
            "prompt_tokens": self.prompt_tokens.get(),
            "cached_tokens": self.cached_tokens.get(),
            "completion_tokens": self.completion_tokens.get(),
            "first_token_ms": first,
            "between_tokens_ms": between,
        })
    }
}

fn seconds_gauge(registry: &mut Registry, start: Gauge) {
    registry.register_with_unit("start_time", "When the server started, since 1970", Unit::Seconds, start);
}

/// Where an answer was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whence {
    /// In a chat.
    Chat,
    /// Over the API.
    Api,
}

impl Whence {
    fn name(self) -> &'static str {
        match self {
            Whence::Chat => "chat",
            Whence::Api => "api",
        }
    }
}

/// Bytes of the process that are in memory, where the system says so: Linux does (proc(5), `VmRSS`).
fn memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_a_frame_is_counted_by_its_code_and_what_people_write_is_not() {
        let metrics = Metrics::new(Arc::default());
        metrics.sent(r#"{"type":"error","timestamp":"t","message":"No","code":"not_owner","retryable":false}"#);
        metrics.sent(r#"{"type":"error","message":"\",\"code\":\"overloaded\"","code":"not_owner","retryable":false}"#);
        metrics.sent(r#"{"type":"message","content":"x","code":"overloaded"}"#);
        metrics.sent(r#"{"type":"error","code":"#);
        let text = metrics.text(Now::default());
        assert!(text.contains("causerie_errors_total{code=\"not_owner\"} 2"), "{text}");
        assert!(!text.contains("overloaded"), "{text}");
    }

    #[test]
    fn the_memory_of_this_process_is_known_on_linux() {
        assert!(!cfg!(target_os = "linux") || memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
