//! Causerie.
