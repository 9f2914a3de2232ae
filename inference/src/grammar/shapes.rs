//! Tokens by the shapes of their words: `Hello` is an upper letter and four lower ones.
//!
//! Most grammars treat most characters of a kind alike, so what holds of one word holds of all words of its shape. 262,144
//! tokens have 448,000 places in the tree of their bytes, and 7,700 in the tree of their shapes.

use llguidance::toktrie::SimpleVob;

use super::tree::Tree;

/// Characters that a grammar is likely to treat alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// One that is like no other, of ASCII.
    Byte(u8),
    /// A to z.
    Lower,
    /// A to Z.
    Upper,
    /// 0 to 9.
    Digit,
    /// All beyond ASCII.
    Beyond,
    /// A to z and A to Z.
    Letter,
    /// All that may stand in a JSON string by themselves: neither quotes nor backslashes nor control characters.
    Plain,
}

impl Class {
    /// Classes of more than one character.
    pub(super) const MANY: usize = 6;

    /// The place of a class of more than one character among those.
    pub(super) fn place(self) -> Option<usize> {
        match self {
            Self::Byte(_) => None,
            Self::Lower => Some(0),
            Self::Upper => Some(1),
            Self::Digit => Some(2),
            Self::Beyond => Some(3),
            Self::Plain => Some(4),
            Self::Letter => Some(5),
        }
    }

    /// Whether it is made of finer classes, which are tried where a grammar tells its characters apart.
    pub(super) fn is_coarse(self) -> bool {
        matches!(self, Self::Plain | Self::Letter)
    }

    /// The characters of ASCII that are in it.
    pub(super) fn ascii(self) -> impl Iterator<Item = u8> + Clone {
        let (first, last) = match self {
            Self::Byte(byte) => (byte, byte),
            Self::Lower => (b'a', b'z'),
            Self::Upper => (b'A', b'Z'),
            Self::Digit => (b'0', b'9'),
            Self::Beyond => (1, 0),
            Self::Letter => (b'A', b'z'),
            Self::Plain => (b' ', b'~'),
        };
        (first..=last).filter(move |&byte| match self {
            Self::Letter => byte.is_ascii_alphabetic(),
            Self::Plain => is_plain(byte),
            _ => true,
        })
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | 0x80..) && byte != b'"' && byte != b'\\'
}

/// How finely shapes are told apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Grain {
    /// By [`Class::Plain`] and bytes up to the first byte, finely behind that.
    Coarse,
    /// By [`Class::Letter`] and all classes of other characters.
    Medium,
    /// By all classes that are not coarse.
    Fine,
}

impl Grain {
    fn class(self, byte: u8) -> Class {
        match (self, byte) {
            (Self::Coarse, byte) if is_plain(byte) => Class::Plain,
            (Self::Medium, byte) if byte.is_ascii_alphabetic() => Class::Letter,
            (_, b'a'..=b'z') => Class::Lower,
            (_, b'A'..=b'Z') => Class::Upper,
            (_, b'0'..=b'9') => Class::Digit,
            (_, 0x80..) => Class::Beyond,
            (_, byte) => Class::Byte(byte),
        }
    }

    /// How finely what stands behind a character is told apart.
    fn behind(self, class: Class) -> Self {
        if self == Self::Coarse && class != Class::Plain { Self::Fine } else { self }
    }
}

/// A tree of shapes, each node before its children.
pub(super) struct Shapes {
    nodes: Vec<Shape>,
    /// Nodes of the tree of bytes.
    places: Vec<u32>,
    tokens: Vec<u32>,
    masks: Vec<SimpleVob>,
}

/// Some words' common beginning.
struct Shape {
    class: Class,
    /// Nodes of it and all behind it.
    size: u32,
    /// Where the last character of the beginning begins in the tree of bytes, by that byte.
    places: (u32, u32),
    own: Own,
}

/// The tokens of words of this shape. If it ends with a coarse class, those of words that end with fewer such characters, too:
/// a text whose length is limited is all of them, up to one shape.
#[derive(Clone, Copy)]
enum Own {
    Few(u32, u32),
    /// As bits, which is faster for many.
    Many(u32),
}

/// Tokens are kept as bits if there is one of them for so many of the vocabulary.
const MANY: usize = 400;

/// What shapes are made of.
struct Growth<'a> {
    tree: &'a Tree,
    /// No token, and room for all.
    empty: &'a SimpleVob,
    shapes: Shapes,
}

impl Growth<'_> {
    /// Adds nodes for characters that begin at `firsts`, all of them behind words of one shape. If that ends with a coarse
    /// class, `shorter` tells which and has the tokens. No deeper than words are long.
    fn grow(&mut self, grain: Grain, shorter: Option<(Class, Own)>, mut firsts: Vec<u32>) {
        let tree = self.tree;
        firsts.sort_unstable_by_key(|&first| (grain.class(tree.byte(first)), tree.byte(first), first));
        for group in firsts.chunk_by(|&a, &b| grain.class(tree.byte(a)) == grain.class(tree.byte(b))) {
            let class = grain.class(tree.byte(group[0]));
            let (at, place) = (self.shapes.nodes.len(), self.shapes.places.len());
            self.shapes.places.extend(group);
            let mut lasts = Vec::with_capacity(group.len());
            group.iter().for_each(|&first| collect_lasts(tree, first, tree.byte(first).leading_ones(), &mut lasts));
            let shorter = shorter.filter(|&(before, _)| before == class).map(|(_, tokens)| tokens);
            let own = self.keep(shorter, lasts.iter().flat_map(|&last| tree.tokens(last)).copied().collect());
            self.shapes.nodes.push(Shape { class, size: 0, places: (place as u32, (place + group.len()) as u32), own });
            let next = lasts.iter().flat_map(|&last| tree.children(Some(last))).collect();
            self.grow(grain.behind(class), class.is_coarse().then_some((class, own)), next);
            self.shapes.nodes[at].size = (self.shapes.nodes.len() - at) as u32;
        }
    }

    /// Keeps tokens with those of a shorter shape.
    fn keep(&mut self, shorter: Option<Own>, tokens: Vec<u32>) -> Own {
        let Shapes { tokens: kept, masks, .. } = &mut self.shapes;
        let (others, mask) = match shorter {
            Some(shorter) if tokens.is_empty() => return shorter,
            Some(Own::Few(from, to)) => (from as usize..to as usize, None),
            Some(Own::Many(mask)) => (0..0, Some(mask)),
            None => (0..0, None),
        };
        if mask.is_none() && (others.len() + tokens.len()) * MANY < self.empty.len() {
            let first = kept.len();
            kept.extend_from_within(others);
            kept.extend(tokens);
            return Own::Few(first as u32, kept.len() as u32);
        }
        let mut mask = mask.map_or(self.empty, |mask| &masks[mask as usize]).clone();
        kept[others].iter().chain(&tokens).for_each(|&token| mask.allow_token(token));
        masks.push(mask);
        Own::Many(masks.len() as u32 - 1)
    }
}

impl Shapes {
    /// Sorts the words of a tree, which are UTF-8, by their shapes. `empty` has no token, and room for all.
    pub(super) fn new(tree: &Tree, grain: Grain, empty: &SimpleVob) -> Self {
        let shapes = Self { nodes: Vec::new(), places: Vec::new(), tokens: Vec::new(), masks: Vec::new() };
        let mut growth = Growth { tree, empty, shapes };
        growth.grow(grain, None, tree.children(None).collect());
        growth.shapes
    }

    /// The shapes of one character, or those behind one.
    pub(super) fn children(&self, parent: Option<u32>) -> impl Iterator<Item = u32> + use<'_> {
        let (mut at, end) = match parent {
            Some(parent) => (parent + 1, parent + self.nodes[parent as usize].size),
            None => (0, self.nodes.len() as u32),
        };
        std::iter::from_fn(move || {
            let child = (at < end).then_some(at)?;
            at += self.nodes[child as usize].size;
            Some(child)
        })
    }

    /// What the last character of a shape is.
    pub(super) fn class(&self, shape: u32) -> Class {
        self.nodes[shape as usize].class
    }

    /// Where the last characters of the words of a shape begin in the tree of bytes, by their first bytes.
    pub(super) fn places(&self, shape: u32) -> &[u32] {
        let (from, to) = self.nodes[shape as usize].places;
        &self.places[from as usize..to as usize]
    }

    /// Allows the tokens that have a shape; if it ends with a coarse class, those with fewer such characters too.
    pub(super) fn allow(&self, shape: u32, mask: &mut SimpleVob) {
        match self.nodes[shape as usize].own {
            Own::Few(from, to) => {
                self.tokens[from as usize..to as usize].iter().for_each(|&token| mask.allow_token(token));
            }
            Own::Many(at) => mask.or(&self.masks[at as usize]),
        }
    }
}

/// The last bytes of the characters that begin with a byte; its leading ones say how many bytes they have.
fn collect_lasts(tree: &Tree, first: u32, leading: u32, found: &mut Vec<u32>) {
    match leading {
        0 | 1 => found.push(first),
        more => tree.children(Some(first)).for_each(|next| collect_lasts(tree, next, more - 1, found)),
    }
}
