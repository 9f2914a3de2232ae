//! Random interleavings of users, connections, losses, slow readers, failures of storage and of the model, expiry and
//! drains, as a state machine: what is planned here, and a hub that lives through it under the reference model's eyes.
//!
//! At every step: what is acknowledged is stored, each reader sees each message once and in order, the deltas of a message
//! are the message, nothing goes to a closed connection, limits hold. At the end, when all has come to rest: `typing` has
//! ended, every generation has ended once, every frame with an `id` is answered, nobody lacks anything, and the hub holds
//! nothing any more.

mod driver;
#[path = "model/world.rs"]
mod world;

use causerie_core::testing::{ClientFrame, Request, Step, strategy};
use causerie_core::{FinishReason, GenerationFailure};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use std::time::Duration;
use world::World;

/// What a script has led to, as far as the choice of the next step depends on it.
#[derive(Clone, Debug)]
struct Plan {
    /// Ann and Bob are in a session already.
    conversation: bool,
    connections: usize,
    draining: bool,
}

impl ReferenceStateMachine for Plan {
    type State = Plan;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Plan> {
        prop::bool::weighted(0.7)
            .prop_map(|conversation| Plan {
                conversation,
                connections: if conversation { 2 } else { 0 },
                draining: false,
            })
            .boxed()
    }

    fn transitions(plan: &Plan) -> BoxedStrategy<Step> {
        if plan.connections == 0 {
            let user = any::<u8>();
            return user.prop_map(|user| Step::Connect { user, credit: None, verdict: Some(true) }).boxed();
        }
        let drain = (0..10_u64).prop_map(|seconds| Step::Drain { within: Duration::from_secs(seconds) });
        prop_oneof![150 => strategy::step(), 1 => drain].boxed()
    }

    fn preconditions(plan: &Plan, step: &Step) -> bool {
        match step {
            Step::Drain { .. } => !plan.draining,
            // A session that is gone says nothing more: worth it, but not often.
            Step::Send { frame: ClientFrame { request: Request::DeleteSession { session }, .. }, .. } => {
                session.is_some()
            }
            _ => true,
        }
    }

    fn apply(mut plan: Plan, step: &Step) -> Plan {
        match step {
            Step::Connect { .. } => plan.connections = (plan.connections + 1).min(world::CONNECTIONS),
            Step::Lose { .. } => plan.connections = plan.connections.saturating_sub(1),
            Step::Drain { .. } => plan.draining = true,
            _ => {}
        }
        plan
    }
}

struct Life;

impl StateMachineTest for Life {
    type SystemUnderTest = World;
    type Reference = Plan;

    fn init_test(plan: &Plan) -> World {
        let mut world = World::new();
        if plan.conversation {
            world.begin_conversation();
        }
        world
    }

    fn apply(mut world: World, _: &Plan, step: Step) -> World {
        world.apply(step);
        world
    }

    fn check_invariants(world: &World, _: &Plan) {
        world.check();
    }

    fn teardown(world: World, _: Plan) {
        world.end();
    }
}

/// The same lives everywhere, unless `PROPTEST_CASES` asks for a number of others.
fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, max_shrink_iters: 2_000, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => ProptestConfig { rng_seed: RngSeed::Fixed(4), ..config },
    }
}

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn any_life_is_as_the_model_says(sequential 1..250 => Life);
}

/// Bob was told that messages are missing, has a part of the next answer, and comes back: he cannot be given the missing
/// ones within that answer. Random lives found it.
#[test]
fn who_lacks_messages_before_an_answer_does_not_go_on_in_it() {
    let chat = || ClientFrame {
        request: Request::ChatMessage { message: "Hello".into(), client_id: None, parent: None },
        named: false,
        damage: None,
    };
    let send = |client, request| Step::Send { client, frame: ClientFrame { request, named: false, damage: None } };
    let mut w = World::new();
    w.begin_conversation();
    for step in [
        Step::Credit { client: 0, bytes: 0 },
        Step::Send { client: 0, frame: chat() },
        Step::Send { client: 253, frame: chat() },
        Step::Send { client: 0, frame: chat() },
        Step::Lose { client: 0 },
        send(0, Request::CreateSession { title: None, system: None }),
        Step::ComeBack { client: 0, credit: None },
        Step::Answer { requests: 3 },
        Step::Finish { generation: 0, reason: FinishReason::Stop },
        Step::Answer { requests: 2 },
        Step::FailStorage { writes: 0, reads: 1 },
        Step::Connect { user: 0, credit: None, verdict: None },
        send(90, Request::JoinSession { session: 0, resume: true }),
        Step::Connect { user: 1, credit: None, verdict: Some(true) },
        Step::Fail { generation: 0, failure: GenerationFailure::Internal },
        Step::Connect { user: 0, credit: None, verdict: None },
        Step::Token { generation: 0, text: "H".into() },
        Step::Backend { up: false },
        Step::Send { client: 41, frame: chat() },
        Step::Answer { requests: 2 },
        Step::ComeBack { client: 20, credit: None },
    ] {
        w.apply(step);
    }
    w.end();
}
