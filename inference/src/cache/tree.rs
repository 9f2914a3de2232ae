//! A radix tree over pages: which tokens lead to which keys and values.
//!
//! A node is a page after the pages of its parents, and is found by its tokens. Full pages can be gone on from; a page with
//! fewer tokens is a leaf, of which a sequence can copy the beginning. Nodes are used in one order, the least recently used
//! last, in which a node always stands before its children: to use a node is to use the whole path to it.
//!
//! Children are sorted by who may use them and by tokens, so that the longest common beginning is found by halving; a
//! lookup takes time in proportion to the prompt.

use super::PAGE;
use super::pool::PageId;

/// How the keys and values of a node's tokens were computed, which says who may use them again.
///
/// Prompts and answers are computed with different arithmetic, and what one session is told must not depend on what others
/// had answered to them. So what was computed as part of a prompt, on top of nothing else, is anybody's: anybody would have
/// computed the same. Everything else is part of its own session's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// All tokens up to here are of prompts: anybody may go on from them.
    Prompt,
    /// Some token up to here was computed while an answer was generated: only its session may go on.
    Generated {
        /// Whose answer it was.
        session: u128,
    },
}

/// A node. It may be gone by the time it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NodeId {
    slot: u32,
    serial: u32,
}

/// What stands before the first page.
const ROOT: u32 = 0;
/// The end of the order of use.
const NONE: u32 = u32::MAX;

impl Default for NodeId {
    /// The root, which is always there.
    fn default() -> Self {
        Self { slot: ROOT, serial: 0 }
    }
}

/// What is known of a page in the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) origin: Origin,
    /// Tokens at its beginning that are of prompts, as is everything before them.
    pub(super) prompt: usize,
    /// 1 to [`PAGE`].
    pub(super) tokens: &'a [u32],
}

struct Node {
    /// Changes when the slot gets another node.
    serial: u32,
    parent: u32,
    children: Vec<u32>,
    /// Of the children, those that are in memory.
    resident_children: u32,
    origin: Origin,
    prompt: u8,
    len: u8,
    tokens: [u32; PAGE],
    /// Its page, if it is in memory. All before it are in memory then.
    page: Option<PageId>,
    /// Which page of the saved file it is.
    saved: Option<u32>,
    /// All its numbers are known to be finite.
    finite: bool,
    /// Sequences that go on from here.
    pins: u32,
    newer: u32,
    older: u32,
}

impl Node {
    /// The root, or what a slot holds before it is filled.
    fn blank() -> Self {
        Self {
            serial: 0,
            parent: NONE,
            children: Vec::new(),
            resident_children: 0,
            origin: Origin::Prompt,
            prompt: 0,
            len: 0,
            tokens: [0; PAGE],
            page: None,
            saved: None,
            finite: false,
            pins: 0,
            newer: NONE,
            older: NONE,
        }
    }

    fn tokens(&self) -> &[u32] {
        &self.tokens[..usize::from(self.len)]
    }
}

/// What [`Tree::insert`] found.
pub(super) enum Inserted {
    /// A new node has the page; and one that it makes useless is gone, whose page is to be given back.
    New(NodeId, Option<PageId>),
    /// A node with these tokens was there, its page as it is.
    There(NodeId),
    /// There is a node with these and more tokens.
    Covered(NodeId),
}

pub(super) struct Tree {
    nodes: Vec<Node>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
}

impl Tree {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::blank()], free: Vec::new(), newest: NONE, oldest: NONE }
    }

    fn slot(&self, id: NodeId) -> Option<usize> {
        (self.nodes.get(id.slot as usize)?.serial == id.serial).then_some(id.slot as usize)
    }

    fn id(&self, slot: u32) -> NodeId {
        NodeId { slot, serial: self.nodes[slot as usize].serial }
    }

    /// What a node is, if it is still there and not the root.
    pub(super) fn entry(&self, id: NodeId) -> Option<Entry<'_>> {
        let node = &self.nodes[self.slot(id)?];
        (id.slot != ROOT).then(|| Entry { origin: node.origin, prompt: node.prompt.into(), tokens: node.tokens() })
    }

    /// The node before, or the root.
    pub(super) fn parent(&self, id: NodeId) -> Option<NodeId> {
        let parent = self.nodes[self.slot(id)?].parent;
        (parent != NONE).then(|| self.id(parent))
    }

    /// The page, if it is in memory.
    pub(super) fn page(&self, id: NodeId) -> Option<PageId> {
        self.nodes[self.slot(id)?].page
    }

    /// Which page of the saved file it is.
    pub(super) fn saved(&self, id: NodeId) -> Option<u32> {
        self.nodes[self.slot(id)?].saved
    }

    /// Whether all its numbers are known to be finite.
    pub(super) fn is_finite(&self, id: NodeId) -> bool {
        self.slot(id).is_some_and(|slot| self.nodes[slot].finite)
    }

    pub(super) fn set_finite(&mut self, id: NodeId) {
        if let Some(slot) = self.slot(id) {
            self.nodes[slot].finite = true;
        }
    }

    /// All numbers up to a node are known to be finite.
    pub(super) fn vouch(&mut self, id: NodeId) {
        let mut slot = self.slot(id).unwrap_or(ROOT as usize);
        while slot as u32 != ROOT && !self.nodes[slot].finite {
            self.nodes[slot].finite = true;
            slot = self.nodes[slot].parent as usize;
        }
    }

    /// Where the children of one origin begin to be at or behind some tokens.
    fn place(&self, parent: usize, origin: Origin, tokens: &[u32]) -> Result<usize, usize> {
        self.nodes[parent].children.binary_search_by(|&child| {
            let child = &self.nodes[child as usize];
            (child.origin, child.tokens()).cmp(&(origin, tokens))
        })
    }

    /// The child of one origin that has most in common with what is wanted, and how many tokens that is.
    fn nearest(&self, parent: usize, origin: Origin, wanted: &[u32]) -> Option<(u32, usize)> {
        let window = &wanted[..wanted.len().min(PAGE)];
        let (Ok(at) | Err(at)) = self.place(parent, origin, window);
        let children = &self.nodes[parent].children;
        // In sorted order, no other has more in common than the two neighbours.
        [at.checked_sub(1), Some(at)]
            .into_iter()
            .filter_map(|at| children.get(at?).copied())
            .filter(|&child| self.nodes[child as usize].origin == origin)
            .map(|child| (child, common_prefix(self.nodes[child as usize].tokens(), window)))
            .filter(|&(_, common)| common > 0)
            .max_by_key(|&(_, common)| common)
    }

    /// The child of a node that goes farthest along what is wanted, and how far. What the session itself generated comes
    /// before whatever others left: it would find that without them, too.
    pub(super) fn follow(&self, parent: NodeId, session: Option<u128>, wanted: &[u32]) -> Option<(NodeId, usize)> {
        let parent = self.slot(parent)?;
        let own = session.and_then(|session| self.nearest(parent, Origin::Generated { session }, wanted));
        let shared = self.nearest(parent, Origin::Prompt, wanted);
        let generated = |&(slot, common): &(u32, usize)| common > self.nodes[slot as usize].prompt.into();
        let (slot, common) = match (own, shared) {
            (Some(own), Some(shared)) if !generated(&own) && shared.1 > own.1 => shared,
            (Some(own), _) => own,
            (None, shared) => shared?,
        };
        Some((self.id(slot), common))
    }

    /// Adds a page behind a full one. The tree then has it in use; the caller counts that.
    ///
    /// # Panics
    /// If the entry has no tokens or too many.
    pub(super) fn insert(&mut self, parent: NodeId, entry: Entry<'_>, page: PageId) -> Option<Inserted> {
        let parent = self.slot(parent)?;
        let at = match self.place(parent, entry.origin, entry.tokens) {
            Ok(at) => return Some(Inserted::There(self.id(self.nodes[parent].children[at]))),
            Err(at) => at,
        };
        let same_origin = |&slot: &u32| self.nodes[slot as usize].origin == entry.origin;
        let next = self.nodes[parent].children.get(at).copied().filter(same_origin);
        if let Some(next) = next.filter(|&next| self.nodes[next as usize].tokens().starts_with(entry.tokens)) {
            return Some(Inserted::Covered(self.id(next)));
        }
        // A session's answer that goes on makes what it was before useless; beginnings of prompts are others', too.
        let before = at.checked_sub(1).map(|at| self.nodes[parent].children[at]).filter(same_origin);
        let useless = before.filter(|&slot| {
            matches!(entry.origin, Origin::Generated { .. })
                && entry.tokens.starts_with(self.nodes[slot as usize].tokens())
        });
        let useless = useless.map(|slot| self.id(slot));
        let node = self.attach(parent, entry, None);
        self.set_page(node, page);
        Some(Inserted::New(node, useless.and_then(|useless| self.remove_leaf(useless))))
    }

    /// Adds a page of the saved file behind a full one. None: there is such a one, or the parent is gone.
    pub(super) fn insert_saved(&mut self, parent: NodeId, entry: Entry<'_>, saved: u32) -> Option<NodeId> {
        let parent = self.slot(parent)?;
        self.place(parent, entry.origin, entry.tokens).is_err().then(|| self.attach(parent, entry, Some(saved)))
    }

    fn attach(&mut self, parent: usize, entry: Entry<'_>, saved: Option<u32>) -> NodeId {
        assert!((1..=PAGE).contains(&entry.tokens.len()), "{} tokens in a page", entry.tokens.len());
        let slot = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::blank());
            self.nodes.len() as u32 - 1
        });
        let mut tokens = [0; PAGE];
        tokens[..entry.tokens.len()].copy_from_slice(entry.tokens);
        let node = &mut self.nodes[slot as usize];
        debug_assert!(node.children.is_empty() && node.pins == 0 && node.page.is_none());
        (node.parent, node.origin, node.tokens) = (parent as u32, entry.origin, tokens);
        (node.prompt, node.len) = (entry.prompt as u8, entry.tokens.len() as u8);
        (node.saved, node.finite) = (saved, false);
        let (Ok(at) | Err(at)) = self.place(parent, entry.origin, entry.tokens);
        self.nodes[parent].children.insert(at, slot);
        self.id(slot)
    }

    /// Gives a node a page in memory, and gives back the one that it had. It is used now.
    pub(super) fn set_page(&mut self, id: NodeId, page: PageId) -> Option<PageId> {
        let slot = self.slot(id)?;
        let earlier = self.nodes[slot].page.replace(page);
        self.nodes[slot].finite = false;
        if earlier.is_none() {
            let parent = self.nodes[slot].parent as usize;
            self.nodes[parent].resident_children += 1;
            self.link(slot as u32);
        }
        self.touch(id);
        earlier
    }

    /// One more sequence goes on from a node.
    pub(super) fn pin(&mut self, id: NodeId) {
        if let Some(slot) = self.slot(id) {
            self.nodes[slot].pins += 1;
        }
    }

    /// One fewer.
    pub(super) fn unpin(&mut self, id: NodeId) {
        if let Some(slot) = self.slot(id) {
            self.nodes[slot].pins -= 1;
        }
    }

    /// A node is used, and with it all before it.
    pub(super) fn touch(&mut self, id: NodeId) {
        let Some(mut slot) = self.slot(id) else { return };
        while slot as u32 != ROOT {
            if self.nodes[slot].page.is_some() {
                self.unlink(slot as u32);
                self.link(slot as u32);
            }
            slot = self.nodes[slot].parent as usize;
        }
    }

    /// Lets go of the page that was longest unused and that nothing else leans on: the node is forgotten, or remains as
    /// one of the saved file. None: all are in use.
    pub(super) fn evict(&mut self) -> Option<PageId> {
        let mut slot = self.oldest;
        while slot != NONE {
            let node = &self.nodes[slot as usize];
            if node.pins == 0 && node.resident_children == 0 {
                return if node.saved.is_some() { self.drop_page(slot) } else { self.remove_leaf(self.id(slot)) };
            }
            slot = node.newer;
        }
        None
    }

    fn drop_page(&mut self, slot: u32) -> Option<PageId> {
        let page = self.nodes[slot as usize].page.take()?;
        let parent = self.nodes[slot as usize].parent as usize;
        self.nodes[parent].resident_children -= 1;
        self.unlink(slot);
        Some(page)
    }

    /// Forgets a node that has no children; gives its page, if it was in memory.
    fn remove_leaf(&mut self, id: NodeId) -> Option<PageId> {
        let slot = self.slot(id)?;
        debug_assert!(self.nodes[slot].children.is_empty());
        let page = self.drop_page(slot as u32);
        let (parent, origin) = (self.nodes[slot].parent as usize, self.nodes[slot].origin);
        if let Ok(at) = self.place(parent, origin, self.nodes[slot].tokens()) {
            self.nodes[parent].children.remove(at);
        }
        let node = &mut self.nodes[slot];
        node.serial = node.serial.wrapping_add(1);
        (node.pins, node.saved) = (0, None);
        self.free.push(slot as u32);
        page
    }

    /// Whether nothing stands behind a node and nobody goes on from it.
    pub(super) fn is_unused_leaf(&self, id: NodeId) -> bool {
        self.slot(id).is_some_and(|slot| self.nodes[slot].children.is_empty() && self.nodes[slot].pins == 0)
    }

    /// The node beside a generated one that has the part of its page that is of a prompt.
    pub(super) fn prompt_of(&self, id: NodeId) -> Option<NodeId> {
        let node = &self.nodes[self.slot(id)?];
        let tokens = &node.tokens()[..usize::from(node.prompt)];
        let at = self.place(node.parent as usize, Origin::Prompt, tokens).ok()?;
        Some(self.id(self.nodes[node.parent as usize].children[at]))
    }

    /// Forgets a node and all behind it, whoever goes on from them; tells their pages.
    pub(super) fn remove(&mut self, id: NodeId, freed: &mut dyn FnMut(PageId)) {
        let Some(top) = self.slot(id).filter(|_| id != NodeId::default()) else { return };
        let mut slot = top;
        loop {
            if let Some(&child) = self.nodes[slot].children.last() {
                slot = child as usize;
                continue;
            }
            let parent = self.nodes[slot].parent as usize;
            if let Some(page) = self.remove_leaf(self.id(slot as u32)) {
                freed(page);
            }
            if slot == top {
                return;
            }
            slot = parent;
        }
    }

    /// All nodes, each before its children: those in memory, the last used first, then those of the saved file alone, in
    /// its order.
    pub(super) fn by_use(&self) -> impl Iterator<Item = NodeId> {
        let next = |&slot: &u32| Some(self.nodes[slot as usize].older).filter(|&older| older != NONE);
        let resident = std::iter::successors(Some(self.newest).filter(|&newest| newest != NONE), next);
        let saved = (1..self.nodes.len() as u32).filter(|&slot| {
            let node = &self.nodes[slot as usize];
            node.page.is_none() && node.saved.is_some()
        });
        resident.chain(saved).map(|slot| self.id(slot))
    }

    fn link(&mut self, slot: u32) {
        let older = std::mem::replace(&mut self.newest, slot);
        (self.nodes[slot as usize].newer, self.nodes[slot as usize].older) = (NONE, older);
        match older {
            NONE => self.oldest = slot,
            older => self.nodes[older as usize].newer = slot,
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Node { newer, older, .. } = self.nodes[slot as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
    }
}

/// How many tokens two sequences have in common at their beginning.
pub(super) fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
#[path = "tree/tests.rs"]
mod tests;
