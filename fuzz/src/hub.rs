//! Scripts of what happens to a hub, against the reference model of what each client may see.
//!
//! A script is text, a line for each thing that happens; what is no such line is passed over, so that a seed reads as the
//! description of a scenario and a fuzzer's changes keep their sense:
//!
//! ```text
//! # Ann stops an answer; what there is of it is kept.
//! connect Ann
//! send 0 {"type":"create_session","title":"Tea"}
//! send 0 {"type":"chat_message","message":"Tell me everything"}
//! text 0 Well,
//! send 0 {"type":"stop_generation"}
//! end 0 stop
//! ```
//!
//! `script` has the lines there are, and `world` does them: it is the runtime, storage and the model, and in the end lets
//! everything that can still happen happen. Then every question must have had one answer, every typing an end, whatever
//! was acknowledged must be stored, and the hub must hold nothing.

mod mutation;
mod script;
mod world;

pub use mutation::mutate;

use world::World;

/// Longer lives find nothing that shorter ones do not, and cost time.
const LINES: usize = 2_000;

/// Lives through a script.
///
/// # Panics
/// When an invariant does not hold.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines().take(LINES).peekable();
    let mut world = World::new(script::setup(&mut lines));
    for op in lines.filter_map(script::parse) {
        world.apply(op);
    }
    world.end();
}
