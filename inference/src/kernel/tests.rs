mod attended;
mod elements;
mod products;

use half::{bf16, f16};

use super::activations::View;
use super::*;
use crate::block::tests::{largest_scale, put_scales};
use crate::block::{BlockType, dequantize};
use crate::pack::{BLOCK, GROUP, Packed};

/// Reproducible numbers, evenly spread from -1 to 1.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }

    /// Random blocks with scales such that values come to 0.1 or so.
    pub(crate) fn blocks(&mut self, block_type: BlockType, values: usize) -> Vec<u8> {
        if block_type.block_len() == 1 {
            let stored = |x: f32| match block_type {
                BlockType::F32 => x.to_le_bytes().to_vec(),
                BlockType::F16 => f16::from_f32(x).to_le_bytes().to_vec(),
                _ => half::bf16::from_f32(x).to_le_bytes().to_vec(),
            };
            return (0..values).flat_map(|_| stored(self.next() * 0.1)).collect();
        }
        let mut bytes: Vec<u8> = (0..block_type.bytes_of(values)).map(|_| (self.next() * 128.0) as i8 as u8).collect();
        for block in bytes.chunks_exact_mut(block_type.block_bytes()) {
            let scales = [self.next(), self.next()].map(|x| x * largest_scale(block_type));
            put_scales(block_type, block, scales);
        }
        bytes
    }
}

fn one_thread<R>(body: impl FnOnce(&Crew) -> R) -> R {
    Team::new(Some(1)).unwrap().enter(body)
}

fn activations(isa: Isa, values: &[f32], columns: usize) -> Activations {
    in_form(Form::Codes, isa, values, columns)
}

fn in_form(form: Form, isa: Isa, values: &[f32], columns: usize) -> Activations {
    let rows = values.len() / columns;
    let mut x = Activations::new(isa, rows, columns);
    one_thread(|crew| {
        x.fill(crew, isa, form, rows, |row, out| out.copy_from_slice(&values[row * columns..][..columns]));
    });
    x
}

/// A random matrix, packed and in plain floats.
fn matrix(noise: &mut Noise, block_type: BlockType, rows: usize, columns: usize) -> (Packed, Vec<f32>) {
    let bytes = noise.blocks(block_type, rows * columns);
    let mut dense = vec![0.0; rows * columns];
    dequantize(block_type, &bytes, &mut dense);
    (Packed::new(block_type, rows, columns, &bytes), dense)
}

fn product(isa: Isa, weights: &Packed, x: &Activations, threads: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.rows() * weights.rows];
    Team::new(Some(threads)).unwrap().enter(|crew| linear(crew, isa, x, [Product { weights, out: &mut out }]));
    out
}

#[track_caller]
fn assert_near(what: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(0.0f32, |scale, x| scale.max(x.abs()));
    for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!((ours - theirs).abs() <= tolerance * scale, "{what}, {at}: {ours} and {theirs}, of {scale}");
    }
}

/// The numbers of activations in any form.
fn numbers_of(x: &Activations) -> Vec<f32> {
    let (rows, columns) = (x.rows(), x.columns());
    if x.form() == Form::Codes {
        return x.view().values[..rows * columns].to_vec();
    }
    let (tiles, blocks) = x.tiles();
    let number = |(row, column): (usize, usize)| {
        bf16::from_bits(tiles[row / 16 * blocks + column / 32].0[row % 16][column % 32]).to_f32()
    };
    (0..rows * columns).map(|at| number((at / columns, at % columns))).collect()
}

/// All instruction sets, with the forms that they have.
fn forms() -> impl Iterator<Item = (Isa, Form)> {
    let forms = |isa: Isa| [(isa, Form::Codes)].into_iter().chain(isa.has_tiles().then_some((isa, Form::Tiles)));
    Isa::available().flat_map(forms)
}

#[test]
fn rows_over_the_capacity_are_refused_and_change_nothing() {
    let mut x = activations(Isa::Scalar, &[1.0; 64], 32);
    for rows in [3, usize::MAX, usize::MAX / 32 + 2] {
        let start = std::panic::AssertUnwindSafe(|| x.start(Form::Codes, rows).len());
        assert!(std::panic::catch_unwind(start).is_err(), "{rows}");
        assert_eq!((x.rows(), x.view().values), (2, &[1.0; 64][..]), "{rows}");
    }
    assert_eq!(x.start(Form::Codes, 2).len(), 64);
}

#[test]
fn the_environment_names_an_instruction_set() {
    assert_eq!(Isa::choose(Some(Isa::Scalar)).unwrap(), Isa::Scalar);
    assert_eq!(Isa::available().next(), Some(Isa::Scalar));
    let error = LoadError::Isa { seen: "sse9".to_owned(), available: "scalar, avx2".to_owned() };
    assert_eq!(
        error.to_string(),
        "kernels `sse9` cannot be used here; this processor has: scalar, avx2; set CAUSERIE_ISA to one of these or leave it out"
    );
}
