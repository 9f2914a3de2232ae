//! The grammars of requests: compiled on a thread of their own, so that nobody who is generating waits for one.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use crate::grammar::{Compiled, Grammar, GrammarError, GrammarFault, Matcher, Next};
use crate::model::Model;

/// Compiles grammars, one after the other. There is a thread for it from the first on that is not compiled yet.
#[derive(Default)]
pub(super) struct Compiler {
    jobs: Option<Sender<Job>>,
}

/// A grammar, and who waits for it. No more than there are requests.
struct Job {
    grammar: Grammar,
    done: Sender<Result<Compiled, GrammarError>>,
}

/// A grammar that a request waits for.
pub(super) enum Coming {
    Ready(Compiled),
    Compiling(Receiver<Result<Compiled, GrammarError>>),
    /// It is not usable.
    Refused(GrammarError),
}

impl Compiler {
    /// Finds a grammar, or begins to compile it.
    ///
    /// # Errors
    /// What is wrong with it at first sight, and where no thread is to be had.
    pub(super) fn ask(&mut self, model: &Arc<Model>, grammar: Grammar) -> Result<Coming, GrammarError> {
        if let Some(found) = model.grammars().find(&grammar)? {
            return Ok(Coming::Ready(found));
        }
        let jobs = match &self.jobs {
            Some(jobs) => jobs,
            None => self.jobs.insert(start(Arc::clone(model))?),
        };
        let (done, coming) = channel();
        // Nobody listens only after a panic; then nothing comes, and the request is refused.
        let _ = jobs.send(Job { grammar, done });
        Ok(Coming::Compiling(coming))
    }
}

fn start(model: Arc<Model>) -> Result<Sender<Job>, GrammarError> {
    let (jobs, asked) = channel::<Job>();
    let work = move || {
        let mut next = asked.recv().ok();
        while let Some(Job { grammar, done }) = next.take() {
            let compiled = model.grammars().compile(&grammar);
            let fresh = compiled.as_ref().ok().cloned();
            let _ = done.send(compiled); // the request may have been cancelled
            next = asked.try_recv().ok();
            if let (None, Some(fresh)) = (&next, fresh) {
                fresh.rehearse();
            }
            next = next.or_else(|| asked.recv().ok());
        }
    };
    let thread = thread::Builder::new().name("grammar".to_owned()).spawn(work);
    let no_thread = |error| GrammarError::Invalid { reason: format!("no thread to compile it: {error}") };
    thread.map(|_| jobs).map_err(no_thread)
}

impl Coming {
    /// Whether it need not be waited for any more.
    pub(super) fn is_here(&mut self) -> bool {
        if let Self::Compiling(coming) = self {
            match coming.try_recv() {
                Ok(compiled) => *self = compiled.map_or_else(Self::Refused, Self::Ready),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => *self = Self::broken(),
            }
        }
        true
    }

    /// Waits a while for it.
    pub(super) fn wait(&mut self, time: Duration) {
        if let Self::Compiling(coming) = self
            && let Ok(compiled) = coming.recv_timeout(time)
        {
            *self = compiled.map_or_else(Self::Refused, Self::Ready);
        }
    }

    fn broken() -> Self {
        Self::Refused(GrammarError::Invalid { reason: "compiling it failed".to_owned() })
    }
}

/// What holds a sequence to its grammar.
pub(super) enum Constraint {
    /// It has not begun: by then more may have been learnt of the grammar.
    From(Compiled),
    At(Box<Matcher>),
}

impl Constraint {
    /// Finds which tokens may come next, while these are computed. What goes wrong is told when it is asked for.
    pub(super) fn look_ahead(&mut self) {
        let _ = self.matcher().look_ahead();
    }

    /// As [`Matcher::allowed`].
    pub(super) fn allowed(&mut self) -> Result<Next<'_>, GrammarFault> {
        self.matcher().allowed()
    }

    /// As [`Matcher::accept`]. True if the text is then complete.
    pub(super) fn accept(&mut self, token: u32) -> Result<bool, GrammarFault> {
        let matcher = self.matcher();
        matcher.accept(token)?;
        Ok(matcher.is_complete())
    }

    /// Later sequences learn from it.
    pub(super) fn leave(self) {
        if let Self::At(matcher) = self {
            matcher.leave();
        }
    }

    fn matcher(&mut self) -> &mut Matcher {
        if let Self::From(compiled) = self {
            *self = Self::At(Box::new(compiled.matcher()));
        }
        match self {
            Self::At(matcher) => matcher,
            Self::From(_) => unreachable!("it has begun above"),
        }
    }
}
