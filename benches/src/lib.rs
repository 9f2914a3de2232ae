//! What the benchmarks share.
//!
//! | command | measures |
//! |---|---|
//! | `cargo run --release -p causerie-benches --bin compare` | the engine beside llama.cpp, in turn |
//! | `cargo run --release -p causerie-benches --bin cost` | the protocol core, in a table beside its goals |
//! | `cargo bench -p causerie-benches --bench core` | the same by criterion |
//! | `cargo run --release -p causerie-benches --bin instructions` | the same in instructions, against the record |
//! | `cargo run --release -p causerie-benches --bin load` | a whole server with 10,000 WebSockets |
//! | `cargo bench -p causerie-benches --bench kernels` | matrix products beside what the machine can do |
//! | `cargo bench -p causerie-benches --bench engine` | prompts and tokens, without a scheduler |
//! | `cargo bench -p causerie-benches --bench scheduler` | steps with many sequences, admission, cancelling |
//! | `cargo bench -p causerie-benches --bench grammar` | which tokens a grammar allows next |

mod model_file;
mod roofline;
mod session;

pub use model_file::{GEMMA_FILE, MODEL_FILE, ModelMissing, model_file, model_named};
pub use roofline::Roofline;
pub use session::{Commands, Session};
