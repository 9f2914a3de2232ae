//! The reference.

use super::{LARGEST, Planes, SMALLEST, Scanned};
use crate::kernel::Lanes;
use crate::pack::{BLOCK, GROUP};

pub(super) fn scan(planes: &Planes<'_>, group: usize, uppers: &mut Lanes) -> Scanned {
    let (mut nearly, mut bounds) = ([0.0f32; GROUP], [0.0f32; GROUP]);
    let norms = &planes.q.low.as_ref().expect("it is split").norms;
    for (b, (codes, factors)) in planes.codes.chunks_exact(BLOCK).zip(&planes.row.blocks).enumerate() {
        let at = group * planes.blocks + b;
        for r in 0..GROUP {
            let weights = planes.q.codes_of(at, r);
            let dot = weights.iter().zip(codes).map(|(&w, &x)| ((i32::from(w) + 128) >> 4) * i32::from(x)).sum::<i32>();
            let scale = planes.q.scales[at].f16(r);
            nearly[r] += scale * (dot as f32 * factors.high + factors.base);
            bounds[r] += scale.abs() * (f32::from(norms[at].0[r]) * factors.norm + factors.slack);
        }
    }
    let upper = |r: usize| if bounds[r] < LARGEST { nearly[r] + bounds[r] + SMALLEST } else { f32::INFINITY };
    *uppers = std::array::from_fn(upper);
    let greatest = |lanes: &Lanes| lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    Scanned { greatest: greatest(uppers), nearly: greatest(&nearly) }
}

pub(super) fn reaches(planes: &Planes<'_>, group: usize, mut uppers: Lanes, least: f32) -> bool {
    let norms = &planes.q.low.as_ref().expect("it is split").norms;
    for &b in &planes.row.order {
        let (at, factors) = (group * planes.blocks + b as usize, planes.row.blocks[b as usize]);
        let codes = &planes.codes[b as usize * BLOCK..][..BLOCK];
        for (r, upper) in uppers.iter_mut().enumerate() {
            let weights = planes.q.codes_of(at, r);
            let dot = weights.iter().zip(codes).map(|(&w, &x)| i32::from(w & 15) * i32::from(x)).sum::<i32>();
            let scale = planes.q.scales[at].f16(r);
            *upper += scale * (dot as f32 * factors.low + factors.middle);
            *upper -= scale.abs() * (f32::from(norms[at].0[r]) * factors.norm);
        }
        if uppers.iter().all(|&upper| upper < least) {
            return false;
        }
    }
    true
}
