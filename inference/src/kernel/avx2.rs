use super::activations::View;
use super::attention::Head;
use super::{Lanes, scalar};
use crate::pack::{Halves, Packed};
pub(super) fn multiply(weights: &Packed, group: usize, x: View<'_>, row: usize, tile: &mut [Lanes]) {
    super::multiply_tile(super::Isa::Scalar, weights, group, x, row, tile);
}
pub(super) fn attend(query: &[f32], keys: &[Halves], values: &[Halves], tokens: usize, head: &mut Head<'_>) {
    scalar::attend(query, keys, values, tokens, head);
}
