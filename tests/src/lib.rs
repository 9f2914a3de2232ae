//! Whole-system tests: helpers that start the real binary and speak to it.
