//! Ways from the drive to the tasks of a socket. All of them run on one thread, so these need no locks, and an idle one
//! holds no memory but itself: a channel for several threads takes some 800 bytes, and there are 10,000 sockets.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Wakes the one task that waits for it.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Bell {
    /// Wakes who waits; if nobody does, the next one does not wait.
    pub(super) fn ring(&self) {
        self.rung.set(true);
        let waiting = self.waiting.take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// Waits until it is rung, or has been since the last time.
    pub(super) async fn rung(&self) {
        poll_fn(|context| {
            if self.rung.take() {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A queue for one task that takes from it. Whoever puts in bounds it.
#[derive(Debug)]
pub(super) struct Mailbox<T> {
    items: RefCell<VecDeque<T>>,
    closed: Cell<bool>,
    bell: Bell,
}

impl<T> Mailbox<T> {
    pub(super) fn new() -> Mailbox<T> {
        Mailbox { items: RefCell::new(VecDeque::new()), closed: Cell::new(false), bell: Bell::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.items.borrow().len()
    }

    pub(super) fn put(&self, item: T) {
        self.items.borrow_mut().push_back(item);
        self.bell.ring();
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.bell.ring();
    }

    /// The next item; `None` when it is closed and empty.
    pub(super) async fn next(&self) -> Option<T> {
        loop {
            if let Some(item) = self.pop() {
                return Some(item);
            }
            if self.closed.get() {
                return None;
            }
            self.bell.rung().await;
        }
    }

    fn pop(&self) -> Option<T> {
        let mut items = self.items.borrow_mut();
        let item = items.pop_front();
        if items.is_empty() {
            // Gives back what a burst took.
            *items = VecDeque::new();
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use smol::LocalExecutor;
    use smol::future::{self, yield_now};

    use super::*;

    #[test]
    fn items_come_in_order_and_then_the_end() {
        let mailbox = Rc::new(Mailbox::new());
        let executor = LocalExecutor::new();
        let taking = mailbox.clone();
        let task = executor.spawn(async move {
            let mut taken = Vec::new();
            while let Some(item) = taking.next().await {
                taken.push(item);
            }
            taken
        });
        let taken = future::block_on(executor.run(async {
            mailbox.put(1);
            mailbox.put(2);
            for _ in 0..3 {
                // The task has emptied it and waits.
                yield_now().await;
            }
            assert_eq!((mailbox.len(), mailbox.items.borrow().capacity()), (0, 0));
            mailbox.put(3);
            mailbox.close();
            task.await
        }));
        assert_eq!(taken, [1, 2, 3]);
    }

    #[test]
    fn a_ring_that_nobody_heard_counts_once() {
        let bell = Bell::default();
        bell.ring();
        bell.ring();
        future::block_on(bell.rung());
        assert!(future::block_on(future::poll_once(bell.rung())).is_none());
    }
}
