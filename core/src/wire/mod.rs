//! Frames as text: decode and encode, no state.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod frames;
pub(crate) mod json;
pub(crate) mod kind;
mod sampling;
mod scan;

pub use sampling::Sampling;
