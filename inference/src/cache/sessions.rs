//! What each session left, so that it is told of its own history and of nobody else's.
//!
//! How many tokens of a prompt were found is reported to people. If what others left were counted, one could guess at
//! others' conversations and read in the figure whether the guess was right. So only nodes count that the session itself
//! left, as far as they are still there; whether somebody else left more makes no difference.

use std::collections::HashMap;

use super::tree::{NodeId, Tree, common_prefix};

/// Sessions whose last sequence is remembered, at most. Each costs 8 bytes a page of its sequence. Of a forgotten session
/// nothing is reported as found, though it is.
pub const SESSIONS: usize = 4096;

#[derive(Default)]
pub(super) struct Sessions {
    left: HashMap<u128, Left>,
    clock: u64,
}

struct Left {
    /// From the first page on. The last may have more tokens than the session left, by others.
    path: Vec<NodeId>,
    tokens: usize,
    at: u64,
}

impl Sessions {
    /// Remembers where the tokens are that a session left, in place of what it left before.
    pub(super) fn leave(&mut self, session: u128, path: Vec<NodeId>, tokens: usize) {
        if self.left.len() == SESSIONS && !self.left.contains_key(&session) {
            let oldest = self.left.iter().min_by_key(|(_, left)| left.at).map(|(&session, _)| session);
            oldest.map(|oldest| self.left.remove(&oldest));
        }
        self.clock += 1;
        self.left.insert(session, Left { path, tokens, at: self.clock });
    }

    /// Forgets a session; gives the nodes that it left and no other did, from the first page on.
    pub(super) fn forget(&mut self, session: u128) -> Vec<NodeId> {
        let mut path = self.left.remove(&session).map_or_else(Vec::new, |left| left.path);
        // What is on two paths is at the beginning of both.
        let shared = |left: &Left| left.path.iter().zip(&path).take_while(|(a, b)| a == b).count();
        let shared = self.left.values().map(shared).max().unwrap_or(0);
        path.split_off(shared)
    }

    /// Whether a session left this node last.
    pub(super) fn end_at(&self, node: NodeId) -> bool {
        self.left.values().any(|left| left.path.last() == Some(&node))
    }

    /// How many tokens of what is wanted are known from the session's own last sequence.
    pub(super) fn own(&self, session: Option<u128>, tree: &Tree, wanted: &[u32]) -> usize {
        let Some(left) = session.and_then(|session| self.left.get(&session)) else { return 0 };
        let mut own = 0;
        for entry in left.path.iter().map_while(|&node| tree.entry(node)) {
            let common = common_prefix(entry.tokens, &wanted[own..]);
            own += common;
            if common < entry.tokens.len() {
                break;
            }
        }
        own.min(left.tokens)
    }

    /// Sessions with the nodes and the number of tokens that they left, the last first.
    pub(super) fn by_use(&self) -> Vec<(u128, &[NodeId], usize)> {
        let mut sessions: Vec<_> = self.left.iter().collect();
        sessions.sort_by_key(|(_, left)| std::cmp::Reverse(left.at));
        sessions.into_iter().map(|(&session, left)| (session, &left.path[..], left.tokens)).collect()
    }
}
