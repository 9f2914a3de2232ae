//! Frames as text: decode and encode, no state.

mod sampling;

pub use sampling::Sampling;
