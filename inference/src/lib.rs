//! A quantized transformer engine for GGUF models, written for one process that chats.
//!
//! The data flow in one direction, and so does this list:
//!
//! 1. [`gguf`] maps a file and checks it; [`block`] knows how tensors are stored.
//! 2. [`pack`] lays weights out for the kernels; [`model`] is configuration, weights and vocabulary together.
//! 3. [`tokenizer`] makes tokens of text, [`template`] one text of a conversation, and [`chat`] a prompt with both.
//! 4. [`forward`] computes logits with the kernels for the processor's [`Isa`] and a [`Team`] of threads, in the buffers of [`scratch`], on top of what [`cache`] remembers.
//! 5. [`sampler`] chooses a token from logits; [`utf8`] and [`stop`] make readable text of the tokens' bytes.
//! 6. [`grammar`] says which tokens may come next where an answer must have a form.
//! 7. [`scheduler`] does all of this for many sequences, one [`step`](scheduler::Scheduler::step) at a time; [`measure`] times it.
//!
//! Nothing here opens a socket, reads a clock for a decision, or starts a thread that outlives the value that owns it.

#[cfg(feature = "bench")]
pub mod bench;
pub mod block;
pub mod cache;
pub mod chat;
pub mod error;
pub mod forward;
pub mod gguf;
pub mod grammar;
mod kernel;
mod mapping;
pub mod measure;
pub mod model;
pub mod pack;
pub mod sampler;
pub mod scheduler;
pub mod scratch;
pub mod stop;
pub mod template;
pub mod tokenizer;
pub mod utf8;

pub use chat::{Prompt, PromptError, Speaker, Step, ToolCall, Turn};
pub use error::LoadError;
pub use gguf::{Gguf, Metadata};
pub use grammar::{Grammar, GrammarError, GrammarFault};
pub use kernel::{Crew, Isa, KvType, MAX_THREADS, Team};
pub use model::{LoadOptions, Model, ModelInfo};
pub use sampler::{Sampler, SamplingError, SamplingOptions, SamplingOverrides, TokenLogprob};
pub use scheduler::{Event, FinishReason, Request, Saving, Scheduler, SchedulerOptions, SequenceId, SubmitError};
pub use template::ChatTemplate;
pub use tokenizer::Tokenizer;
