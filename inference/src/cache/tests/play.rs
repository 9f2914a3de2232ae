//! Any sequence of operations against a model that remembers everything.

use super::*;

#[derive(Clone, Debug)]
enum Operation {
    Begin {
        session: u128,
        prompt: Vec<u32>,
    },
    /// The next turn of a session: what it left, and some more.
    GoOn {
        at: usize,
        more: usize,
    },
    Compute {
        at: usize,
        count: usize,
    },
    End {
        at: usize,
    },
    Fail {
        at: usize,
    },
    /// Somebody deletes the session.
    Forget {
        session: u128,
    },
    /// Everything that runs is lost.
    Restart,
}

/// Prompts of few tokens, so that beginnings are often alike.
fn operation() -> impl Strategy<Value = Operation> {
    let prompt = (1usize..200, 1usize..4, 0u32..3).prop_map(|(len, common, other)| {
        (0..len).map(|i| if i > 50 * common { other } else { 7 }).collect::<Vec<u32>>()
    });
    prop_oneof![
        2 => (0u128..4, prompt).prop_map(|(session, prompt)| Operation::Begin { session, prompt }),
        2 => (0usize..9, 1usize..40).prop_map(|(at, more)| Operation::GoOn { at, more }),
        6 => (0usize..9, 1usize..90).prop_map(|(at, count)| Operation::Compute { at, count }),
        2 => (0usize..9).prop_map(|at| Operation::End { at }),
        1 => (0usize..9).prop_map(|at| Operation::Fail { at }),
        1 => (1u128..4).prop_map(|session| Operation::Forget { session }),
        1 => Just(Operation::Restart),
    ]
}

/// What a session could see of one of its sequences: what it found of its own, and on what each token was computed.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    session: u128,
    own: usize,
    histories: Vec<u32>,
}

/// Sequences that come and go.
#[derive(Default)]
struct Play {
    /// If not all sessions play: which one.
    only: Option<u128>,
    /// Prompts are computed at once.
    at_once: bool,
    running: Vec<Option<Running>>,
    /// The session and the last known tokens of each sequence.
    left: Vec<(u128, Vec<u32>)>,
    seen: Vec<Seen>,
}

impl Play {
    fn begin(&mut self, cache: &mut Cache, session: u128, prompt: Vec<u32>) {
        let mut begun = None;
        if self.only.is_none_or(|only| only == session) {
            let mut running = Running::begin(cache, (session > 0).then_some(session), &prompt);
            self.seen.push(Seen { session, own: running.own, histories: running.histories.clone() });
            if self.at_once {
                running.compute(cache, prompt.len()).unwrap();
                self.seen.last_mut().unwrap().histories.clone_from(&running.histories);
            }
            begun = Some(running);
        }
        self.running.push(begun);
        self.left.push((session, prompt));
    }

    fn play(&mut self, cache: &mut Cache, operation: &Operation) {
        let count = self.running.len().max(1);
        match *operation {
            Operation::Begin { session, ref prompt } => self.begin(cache, session, prompt.clone()),
            Operation::GoOn { at, more } => {
                let Some((session, tokens)) = self.left.get(at % count).cloned() else { return };
                self.begin(cache, session, [tokens, vec![3; more]].concat());
            }
            Operation::Compute { at, count: more } => {
                let Some(Some(running)) = self.running.get_mut(at % count) else { return };
                let _ = running.compute(cache, running.computed() + more);
                self.left[at % count].1.clone_from(&running.tokens);
            }
            Operation::End { at } => {
                let Some(Some(ended)) = self.running.get_mut(at % count).map(Option::take) else { return };
                ended.end(cache);
            }
            Operation::Fail { at } => {
                let Some(Some(failed)) = self.running.get_mut(at % count).map(Option::take) else { return };
                cache.release(failed.table);
            }
            Operation::Forget { session } => {
                if self.only.is_none_or(|only| only == session) {
                    cache.forget(session);
                }
            }
            Operation::Restart => {
                self.running.iter_mut().for_each(|lost| *lost = None);
                *cache = saved::restart(cache, cache.limit_pages());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever sequences come and go, in however little room: what is said to be known is there and is no other session's
    /// answer, no page is lost or in two places, and no more is taken than the limit.
    #[test]
    fn what_is_known_is_there(operations in prop::collection::vec(operation(), 1..60), pages in 1usize..16) {
        let (mut cache, mut play) = (cache(pages), Play::default());
        for operation in &operations {
            play.play(&mut cache, operation);
            check(&cache, play.running.iter().flatten());
        }
        play.running.into_iter().flatten().for_each(|running| cache.release(running.table));
        check(&cache, []);
        while cache.evict() {}
        prop_assert_eq!(cache.used_pages(), 0);
        prop_assert!(cache.tree.by_use().all(|node| cache.tree.saved(node).is_some()), "the file's are left");
    }

    /// As long as there is room, no session can see from what it finds, or from what its answers are computed on, whether
    /// others are there.
    #[test]
    fn a_session_sees_nothing_of_others(operations in prop::collection::vec(operation(), 1..60)) {
        let seen = |only: Option<u128>| {
            let (mut cache, mut play) = (cache(1000), Play { only, at_once: true, ..Play::default() });
            operations.iter().for_each(|operation| play.play(&mut cache, operation));
            play.seen
        };
        let all = seen(None);
        for session in 1..4 {
            let mut of_session = all.clone();
            of_session.retain(|seen| seen.session == session);
            prop_assert_eq!(of_session, seen(Some(session)));
        }
    }
}
