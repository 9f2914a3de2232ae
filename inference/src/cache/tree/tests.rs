//! What must hold of a tree whatever was done to it.

use std::collections::HashSet;

use super::*;

impl Tree {
    /// Nodes that there are.
    pub(in crate::cache) fn len(&self) -> usize {
        self.nodes.len() - 1 - self.free.len()
    }

    /// Checks everything that can be told without the pages; gives the pages that the tree has, one a node.
    #[track_caller]
    pub(in crate::cache) fn check(&self) -> Vec<PageId> {
        let live: Vec<u32> = (0..self.nodes.len() as u32).filter(|slot| !self.free.contains(slot)).collect();
        let mut pages = Vec::new();
        for &slot in &live {
            let node = &self.nodes[slot as usize];
            let children: Vec<&Node> = node.children.iter().map(|&child| &self.nodes[child as usize]).collect();
            assert!(
                children.is_sorted_by(|a, b| (a.origin, a.tokens()) < (b.origin, b.tokens())),
                "sorted, no two alike"
            );
            assert!(children.iter().all(|child| child.parent == slot));
            assert_eq!(children.iter().filter(|child| child.page.is_some()).count(), node.resident_children as usize);
            if slot == ROOT {
                continue;
            }
            assert!(usize::from(node.len) == PAGE || (children.is_empty() && node.pins == 0), "others are leaves");
            assert!(children.iter().all(|child| node.origin == Origin::Prompt || child.origin == node.origin));
            assert!(node.page.is_some() || (node.saved.is_some() && node.resident_children == 0 && node.pins == 0));
            assert!(node.prompt <= node.len && (node.origin != Origin::Prompt || node.prompt == node.len));
            pages.extend(node.page);
        }
        let mut order = Vec::new();
        let (mut slot, mut newer) = (self.newest, NONE);
        while slot != NONE {
            assert_eq!(self.nodes[slot as usize].newer, newer);
            order.push(slot);
            (slot, newer) = (self.nodes[slot as usize].older, slot);
        }
        assert_eq!((self.oldest, order.len()), (newer, pages.len()), "those in memory are in the order of use, once");
        let mut before = HashSet::from([ROOT]);
        for slot in order {
            assert!(before.contains(&self.nodes[slot as usize].parent), "a node stands before its children");
            assert!(before.insert(slot));
        }
        assert_eq!(self.by_use().count(), self.len());
        pages
    }
}
