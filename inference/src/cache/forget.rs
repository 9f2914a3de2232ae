//! Forgetting a conversation that somebody has deleted.

use super::tree::{NodeId, Origin};
use super::{Cache, PageTable};

impl PageTable {
    /// Whose sequence it is.
    pub fn session(&self) -> Option<u128> {
        self.session
    }
}

impl Cache {
    /// Forgets what a session generated, and what it left of prompts that no other session left, too. A file has it until it
    /// is written anew, which is due then. What a running sequence of the session computed is forgotten if this is called
    /// after its end.
    pub fn forget(&mut self, session: u128) {
        self.saving = None; // it may have written what is to be forgotten
        self.changes.forgotten = true;
        let left = self.sessions.forget(session);
        let own = Origin::Generated { session };
        let of_session = |&node: &NodeId| self.tree.entry(node).is_some_and(|entry| entry.origin == own);
        let generated: Vec<NodeId> = self.tree.by_use().filter(of_session).collect();
        for node in generated {
            let prompt = self.tree.prompt_of(node);
            self.remove(node);
            if let Some(prompt) =
                prompt.filter(|&prompt| self.tree.is_unused_leaf(prompt) && !self.sessions.end_at(prompt))
            {
                self.remove(prompt);
            }
        }
        for node in left.into_iter().rev() {
            if self.tree.is_unused_leaf(node) {
                self.remove(node);
            }
        }
    }

    /// Forgets a node and all behind it.
    pub(super) fn remove(&mut self, node: NodeId) {
        let pool = &mut self.pool;
        self.tree.remove(node, &mut |page| pool.give_back(page));
    }
}
