//! Queues that cost one word while they are empty.

use alloc::boxed::Box;
use alloc::collections::{VecDeque, vec_deque};

/// A queue, empty most of the time: then it holds no memory but the word that it is. What goes in is bounded by
/// whoever puts it in.
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "one word instead of four while it is empty")]
pub(crate) struct Queue<T>(Option<Box<VecDeque<T>>>);

impl<T> Queue<T> {
    pub(crate) const fn new() -> Queue<T> {
        Queue(None)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.0.as_ref()?.front()
    }

    pub(crate) fn push_back(&mut self, value: T) {
        self.begun().push_back(value);
    }

    pub(crate) fn push_front(&mut self, value: T) {
        self.begun().push_front(value);
    }

    /// Most queues never hold a second element, so room is made for one: four, the usual beginning, of what is large are
    /// more than allocators give out quickly.
    fn begun(&mut self) -> &mut VecDeque<T> {
        self.0.get_or_insert_with(|| Box::new(VecDeque::with_capacity(1)))
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let queue = self.0.as_mut()?;
        let value = queue.pop_front();
        if queue.is_empty() {
            self.0 = None;
        }
        value
    }

    pub(crate) fn iter(&self) -> Iter<'_, T> {
        Iter(self.0.as_ref().map(|queue| queue.iter()))
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue::new()
    }
}

/// The elements of a [`Queue`], in order.
pub(crate) struct Iter<'a, T>(Option<vec_deque::Iter<'a, T>>);

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.0.as_mut()?.next()
    }
}

impl<'a, T> IntoIterator for &'a Queue<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// Takes the elements out, in order.
pub(crate) struct Drain<T>(Queue<T>);

impl<T> Iterator for Drain<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.pop_front()
    }
}

impl<T> IntoIterator for Queue<T> {
    type Item = T;
    type IntoIter = Drain<T>;

    fn into_iter(self) -> Drain<T> {
        Drain(self)
    }
}

/// Frames that wait, and how many bytes they are; one word while there are none.
#[derive(Debug, Default)]
pub(crate) struct Frames(Option<Box<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Box<str>>,
    bytes: usize,
}

impl Frames {
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.frames.len())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn push(&mut self, frame: &str) {
        let waiting = self.0.get_or_insert_default();
        waiting.bytes += frame.len();
        waiting.frames.push_back(frame.into());
    }

    pub(crate) fn pop(&mut self) -> Option<Box<str>> {
        let waiting = self.0.as_mut()?;
        let frame = waiting.frames.pop_front();
        waiting.bytes -= frame.as_ref().map_or(0, |frame| frame.len());
        if waiting.frames.is_empty() {
            self.0 = None;
        }
        frame
    }

    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn first_in_first_out() {
        let mut queue = Queue::new();
        assert_eq!((queue.len(), queue.pop_front()), (0, None));
        queue.push_back(2);
        queue.push_back(3);
        queue.push_front(1);
        assert_eq!((queue.len(), queue.front()), (3, Some(&1)));
        assert_eq!(queue.iter().collect::<Vec<_>>(), [&1, &2, &3]);
        assert_eq!(queue.pop_front(), Some(1));
        assert_eq!(queue.into_iter().collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn frames_and_their_bytes() {
        let mut frames = Frames::default();
        frames.push("ab");
        frames.push("c");
        assert_eq!((frames.len(), frames.bytes()), (2, 3));
        assert_eq!(frames.pop().as_deref(), Some("ab"));
        assert_eq!((frames.len(), frames.bytes()), (1, 1));
        assert_eq!((frames.pop().as_deref(), frames.pop()), (Some("c"), None));
        assert_eq!((frames.len(), frames.bytes(), size_of::<Frames>()), (0, 0, size_of::<usize>()));
    }

    #[test]
    fn an_empty_one_is_a_word() {
        assert_eq!(size_of::<Queue<[u8; 1_000]>>(), size_of::<usize>());
        let mut queue = Queue::new();
        queue.push_back(1);
        queue.pop_front();
        assert!(queue.0.is_none() && queue.is_empty());
    }
}
