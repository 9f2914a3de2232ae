//! The answers to one request, which are made at the same time.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use causerie_inference::scheduler::{FinishReason, Usage};
use hyper::header::{HeaderName, HeaderValue};
use smol::Timer;
use smol::future::or;

use super::super::{Health, Refusal, Response, Site};
use super::error::ApiError;
use crate::limits;
use crate::metrics::Metrics;
use crate::quota::Permit;
use crate::worker::{Answer, Asker, Task, TaskEvent};

/// How many of the oldest messages the model has not seen, since they do not fit into its context.
pub(super) const X_DROPPED: HeaderName = HeaderName::from_static("x-causerie-dropped-messages");

/// Answers that are being made. Dropping it cancels them.
#[derive(Debug)]
pub(super) struct Choices {
    /// `None` where one has ended.
    answers: Vec<Option<Answer>>,
    /// Where to look first, so that each has its turn.
    turn: usize,
    /// What came before anybody was ready for it.
    first: Option<(usize, TaskEvent)>,
    usage: Usage,
    /// Pieces that came of answers that have not ended: of a token each, at least.
    unended: usize,
    /// One for each answer, until all have ended.
    permits: Vec<Permit>,
    /// So many in a row have the same prompt.
    each: usize,
    /// The field that all go on from, for messages.
    input: &'static str,
    /// Says when the server stops.
    health: Rc<Health>,
    /// Where it is counted how fast they come.
    metrics: Rc<Metrics>,
    /// When each answer has said something last.
    said: Vec<Option<Instant>>,
    /// Of the messages that they go on from, so many did not fit.
    dropped: usize,
}

impl Choices {
    /// Gives the model its tasks, and waits a little for the first to come of them: what is wrong with a request shows by
    /// then, and is answered with a status of its own.
    ///
    /// `user_id` is whose quota they count towards; `each` of the tasks in a row have the same prompt.
    pub(super) async fn ask(
        site: &Site,
        user_id: &str,
        asker: &Asker,
        tasks: Vec<Task>,
        each: usize,
        input: &'static str,
    ) -> Result<Choices, ApiError> {
        let mut permits = Vec::with_capacity(tasks.len());
        for _ in &tasks {
            permits.push(site.quotas.admit(user_id).await?);
        }
        let failed = |failure| ApiError::from_failure(failure, input);
        let answers = tasks.into_iter().map(|task| asker.ask(task).map(Some).map_err(failed));
        let answers = answers.collect::<Result<Vec<_>, _>>()?;
        let mut choices = Choices::of(site, answers, permits, each, input);
        let first = async { choices.next().await.transpose() };
        let late = async {
            Timer::after(limits::API_FIRST_EVENT).await;
            Ok(None)
        };
        choices.first = or(first, late).await?;
        Ok(choices)
    }

    fn of(
        site: &Site,
        answers: Vec<Option<Answer>>,
        permits: Vec<Permit>,
        each: usize,
        input: &'static str,
    ) -> Choices {
        let (health, metrics, said) = (site.health.clone(), site.metrics.clone(), vec![None; answers.len()]);
        let (first, usage) = (None, Usage::default());
        Choices { answers, turn: 0, first, usage, unended: 0, permits, each, input, health, metrics, said, dropped: 0 }
    }

    /// Tells the client which of its messages the model has not seen, as far as that is known yet.
    pub(super) fn tell_dropped(&self, response: &mut Response) {
        if self.dropped > 0 {
            response.headers_mut().insert(X_DROPPED, HeaderValue::from(self.dropped));
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    /// The next event of any, and of which; `None` when all have ended. After a failure of one the others are of no use.
    pub(super) async fn next(&mut self) -> Option<Result<(usize, TaskEvent), ApiError>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        let (choice, event) = loop {
            let health = self.health.clone();
            let event = async { poll_fn(|context| self.poll(context)).await.map(Ok) };
            let cut = async {
                health.until_cut().await;
                Some(Err(Refusal::cut().into()))
            };
            match or(cut, event).await? {
                // All of them go on from the same messages.
                Ok((_, TaskEvent::Shortened { dropped })) => self.dropped = dropped,
                Ok(event) => break event,
                Err(cut) => return Some(Err(cut)),
            }
        };
        match event {
            TaskEvent::Failed(failure) => return Some(Err(ApiError::from_failure(failure, self.input))),
            TaskEvent::Finished { usage, timings, .. } => {
                self.count(choice, usage);
                self.metrics.began(timings.first_token.as_secs_f64());
            }
            TaskEvent::Text(_) => {
                self.unended += 1;
                let now = Instant::now();
                if let Some(before) = self.said[choice].replace(now) {
                    self.metrics.paused(now.duration_since(before));
                }
            }
            TaskEvent::Token { .. } | TaskEvent::Embedded { .. } | TaskEvent::Shortened { .. } => {}
        }
        Some(Ok((choice, event)))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, TaskEvent)>> {
        let count = self.answers.len();
        let mut ended = true;
        for choice in (0..count).map(|i| (self.turn + i) % count) {
            let Some(answer) = &mut self.answers[choice] else { continue };
            ended = false;
            let Poll::Ready(event) = answer.poll_next(context) else { continue };
            if matches!(event, TaskEvent::Finished { .. } | TaskEvent::Failed(_)) {
                self.answers[choice] = None;
            }
            self.turn = choice + 1;
            return Poll::Ready(Some((choice, event)));
        }
        if ended { Poll::Ready(None) } else { Poll::Pending }
    }

    /// A prompt counts once, however many answers it gets.
    fn count(&mut self, choice: usize, usage: Usage) {
        if choice.is_multiple_of(self.each) {
            self.usage.prompt_tokens += usage.prompt_tokens;
            self.usage.cached_tokens += usage.cached_tokens;
        }
        self.usage.completion_tokens += usage.completion_tokens;
        self.unended = self.unended.saturating_sub(usage.completion_tokens);
    }

    /// Of those that have ended.
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }
}

impl Drop for Choices {
    /// Also of a client that has gone: what was computed for it by then counts.
    fn drop(&mut self) {
        let Some(permit) = self.permits.pop() else { return };
        let saturate = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let ended = self.answers.iter().all(Option::is_none);
        let Usage { prompt_tokens, cached_tokens, completion_tokens } = self.usage;
        permit.spend(causerie_core::Usage {
            prompt_tokens: saturate(prompt_tokens),
            cached_tokens: saturate(cached_tokens),
            completion_tokens: saturate(completion_tokens + if ended { 0 } else { self.unended }),
        });
    }
}

/// Why an answer has ended, in OpenAI's words.
pub(super) fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Length => "length",
        FinishReason::Stop | FinishReason::Stopped => "stop",
    }
}
