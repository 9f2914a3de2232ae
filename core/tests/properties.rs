//! Random interleavings of everything, against a model of what each client may see: see `driver::reader`.
//!
//! What is acknowledged is stored; each reader sees each message once and in the order of `seq`; the deltas of a message
//! are the message; `typing` always ends; every generation ends once; nothing goes to a closed connection; every question
//! is answered once; and when all is over, the hub holds nothing.

mod driver;

use driver::scenario::{Op, live};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_life_ends_well(ops in prop::collection::vec(any::<[u8; 4]>().prop_map(Op::from), 0..400)) {
        live(ops);
    }

    /// Few people, one session, much talk: the interleavings that matter most, more often.
    #[test]
    fn any_conversation_ends_well(ops in prop::collection::vec(any::<[u8; 4]>().prop_map(Op::from), 0..400)) {
        let begin = [
            Op::Connect { name: 0, slow: false },
            Op::Create { who: 0 },
            Op::Answer { count: 0 },
            Op::Invite { who: 0, name: 1 },
            Op::Answer { count: 0 },
            Op::Connect { name: 1, slow: true },
            Op::Ping { who: 0 },
            Op::Verdict { who: 1, good: true },
            Op::Join { who: 1, which: 0 },
            Op::Answer { count: 1 },
        ];
        let talk = ops.into_iter().filter(|op| !matches!(op, Op::Create { .. } | Op::Delete { .. } | Op::Clear { .. } | Op::Leave { .. }));
        live(begin.into_iter().chain(talk));
    }
}
