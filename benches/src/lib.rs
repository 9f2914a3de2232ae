//! What the benchmarks share.
//!
//! | command | measures |
//! |---|---|
//! | `cargo run --release -p causerie-benches --bin compare` | the engine beside llama.cpp, in turn |
//! | `cargo run --release -p causerie-benches --bin cost` | the protocol core, in a table beside its goals |
//! | `cargo bench -p causerie-benches --bench core` | the same by criterion |
//! | `cargo run --release -p causerie-benches --bin instructions` | the same in instructions, against the record |
//! | `cargo run --release -p causerie-benches --bin load` | a whole server with 10,000 WebSockets, or 1,000 that chat |
//! | `cargo run --release -p causerie-benches --bin chats` | eight chats at once over sockets, beside llama-server, in turn |
//! | `cargo run --release -p causerie-benches --bin ready` | from a server's start to its first token, and to the page's first paint |
//! | `cargo bench -p causerie-benches --bench kernels` | matrix products beside what the machine can do |
//! | `cargo bench -p causerie-benches --bench engine` | prompts and tokens, without a scheduler |
//! | `cargo bench -p causerie-benches --bench scheduler` | steps with many sequences, admission, cancelling |
//! | `cargo bench -p causerie-benches --bench grammar` | which tokens a grammar allows next |

mod chat;
mod circumstances;
mod figures;
mod machine;
mod model_file;
mod roofline;
mod server;
mod session;
pub mod socket;

pub use chat::{Answer, Chat};
pub use circumstances::{Circumstances, Subject, exit_code};
pub use figures::{Spread, jain, number, quantile};
pub use machine::{Machine, commit, today};
pub use model_file::{GEMMA_FILE, MODEL_FILE, ModelMissing, model_file, model_named};
pub use roofline::Roofline;
pub use server::{PATIENCE, Server, Start, program, raise_open_files};
pub use session::{Commands, Session};
