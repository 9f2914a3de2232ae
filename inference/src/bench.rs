//! Kernels for benchmarks, with the feature `bench`: they are no part of what the engine promises.

use crate::forward::Work;
use crate::kernel::{
    self, Activations, Form, Heads, Isa, KvType, PAGE, PageView, Pairs, Product, Shares, Stretch, Team,
};
use crate::pack::{GROUP, Packed};

pub use crate::kernel::{Peak, peaks};

/// A product of a matrix and some rows of activations, to be repeated.
pub struct MatrixProduct<'w> {
    isa: Isa,
    weights: &'w Packed,
    x: Activations,
    out: Vec<f32>,
}

impl<'w> MatrixProduct<'w> {
    /// A matrix and `rows` rows of activations between -1 and 1, prepared for the kernels as a step of such work does it.
    ///
    /// # Panics
    /// If the processor lacks the instruction set.
    pub fn new(isa: Isa, work: Work, weights: &'w Packed, rows: usize, team: &Team) -> Self {
        assert!(isa.is_available(), "this processor lacks {isa}");
        let columns = weights.columns;
        let form = work.form(isa);
        let mut x = Activations::new(isa, rows, columns);
        let value = |i: usize| ((i * 7919) % 2_001) as f32 / 1_000.0 - 1.0;
        team.enter(|crew| {
            x.fill(crew, isa, form, rows, |row, out| {
                out.iter_mut().enumerate().for_each(|(column, out)| *out = value(row * columns + column));
            });
        });
        let out = vec![0.0; rows * weights.rows];
        Self { isa, weights, x, out }
    }

    /// Bytes of the packed matrix: what must be read for one product.
    pub fn bytes(&self) -> usize {
        self.weights.bytes()
    }

    /// Multiplications and additions of one product.
    pub fn operations(&self) -> u64 {
        2 * (self.weights.rows * self.weights.columns * self.x.rows()) as u64
    }

    /// Computes the product so many times, all in one step of the team.
    pub fn run(&mut self, team: &Team, times: u64) {
        let Self { isa, weights, x, out } = self;
        team.enter(|crew| {
            for _ in 0..times {
                kernel::linear(crew, *isa, x, [Product { weights, out }]);
            }
        });
    }
}

/// Attention of the query heads that share a key-value head over some tokens, to be repeated on one thread.
pub struct Attention {
    isa: Isa,
    heads: Heads,
    tokens: usize,
    pages: Vec<Pairs>,
    queries: Vec<f32>,
    out: Activations,
    team: Team,
}

impl Attention {
    /// `heads` queries over `tokens` tokens, of numbers that are small and not zero.
    ///
    /// # Panics
    /// If the processor lacks the instruction set.
    pub fn new(isa: Isa, kv: KvType, dimensions: usize, heads: usize, tokens: usize) -> Self {
        assert!(isa.is_available(), "this processor lacks {isa}");
        let some = |i: usize| 0x3d00 | (i * 7919 % 256) as u16; // bf16 of 0.03 to 0.06; or codes, or most of a float of that size
        let pairs = |i: usize| Pairs(std::array::from_fn(|lane| [some(2 * (GROUP * i + lane)), some(3 * lane + i)]));
        Self {
            isa,
            heads: Heads { dimensions, kv_heads: 1, group: heads, kv, cap: None, window: usize::MAX },
            tokens,
            pages: (0..tokens.div_ceil(PAGE) * kv.lines(dimensions)).map(pairs).collect(),
            queries: vec![0.1; heads * dimensions],
            out: Activations::new(isa, 1, heads * dimensions),
            team: Team::new(Some(1)).expect("a team of one starts no thread"),
        }
    }

    /// Bytes of the keys and values.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.pages[..])
    }

    /// Computes it once.
    pub fn run(&mut self) {
        let Self { isa, heads, tokens, pages, queries, out, team } = self;
        let (isa, heads) = (*isa, *heads);
        let Heads { dimensions, kv, .. } = heads;
        let stretch = Stretch { row: 0, rows: 1, position: *tokens - 1, table: 0 };
        let query = |_: usize, head: usize, room: &mut [f32]| {
            room.copy_from_slice(&queries[head * dimensions..][..dimensions]);
        };
        let of_page = kv.lines(dimensions);
        let page =
            |_: usize, number: usize, _: usize| PageView::new(kv, dimensions, &pages[number * of_page..][..of_page]);
        out.start(Form::Codes, 1);
        let attention = kernel::Attention { isa, heads, stretches: &[stretch], query, page };
        team.enter(|crew| attention.compute(crew, &mut Shares::default(), out));
    }
}

/// Has a team do so many jobs that consist of nothing, in one step: what keeping it together costs.
pub fn empty_jobs(team: &Team, jobs: u64) {
    team.enter(|crew| {
        for _ in 0..jobs {
            crew.run(crew.threads(), &|_| ());
        }
    });
}
