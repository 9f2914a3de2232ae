//! The reference.

use super::bound::{LARGEST, Planes, Rows, SMALLEST};
use crate::pack::GROUP;

pub(super) fn scan(planes: &Planes<'_>, group: usize, rows: &Rows, row: usize) -> f32 {
    let (mut nearly, mut bounds) = ([0.0f32; GROUP], [0.0f32; GROUP]);
    for (b, (codes, factors)) in rows.row(row).enumerate() {
        let at = group * planes.blocks + b;
        for r in 0..GROUP {
            let weights = planes.q.codes_of(at, r);
            let dot = weights.iter().zip(codes).map(|(&w, &x)| ((i32::from(w) + 128) >> 4) * i32::from(x)).sum::<i32>();
            let scale = planes.q.scales[at].f16(r);
            nearly[r] += scale * (dot as f32 * factors.high + factors.base);
            bounds[r] += scale.abs() * (f32::from(planes.norms[at].0[r]) * factors.norm + factors.slack);
        }
    }
    let upper = |(nearly, bound): (f32, f32)| if bound < LARGEST { nearly + bound + SMALLEST } else { f32::INFINITY };
    nearly.into_iter().zip(bounds).map(upper).fold(f32::NEG_INFINITY, f32::max)
}
