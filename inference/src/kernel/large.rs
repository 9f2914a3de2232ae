//! Large pages: taken while they are cheap, and made up for later where they are not.
//!
//! The first write to a large page makes the system clear 2 MiB, which takes a tenth to a quarter of a millisecond. On a
//! virtual machine whose host takes back what the guest leaves free (free page reporting, a balloon) it takes twenty times
//! that, as the host has to find 512 small pages; small ones come from what the guest has used lately, and cost what they
//! always do. Where free memory is in pieces, the system may also stop to join them. So pages are written one by one, and
//! once some were slow the rest are left small: loading takes a third of the time. A thread then makes large pages of them
//! ([`Settling`]), when the first prompts have been answered.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use memmap2::MmapMut;
use rayon::prelude::*;

/// Bytes of a large page.
pub(super) const LARGE_PAGE: usize = 2 << 20;

/// A first write that takes longer is slow: so long do 512 small pages take.
const SLOW: Duration = Duration::from_millis(1);

/// Slow writes after which pages are left small.
const PATIENCE: usize = 2;

/// How long pages stay small at least: a first short prompt is answered by then, and decoding should not go on without them.
pub(super) const REST: Duration = Duration::from_millis(100);

/// Pages of a mapping that have been left small.
pub(super) struct Small {
    map: Arc<MmapMut>,
    /// Where they begin, in bytes from the mapping's start.
    pages: Vec<usize>,
}

/// Writes to each large page of a part of a mapping, which begins with one, with all threads of the current rayon pool. Gives
/// those that have been left small.
///
/// # Safety
/// Nobody else reads or writes this part.
pub(super) unsafe fn fault_in(map: &Arc<MmapMut>, part: Range<usize>) -> Small {
    assert!(part.end <= map.len(), "{part:?} of {} bytes", map.len());
    let slow = AtomicUsize::new(0);
    let is_left = |&page: &usize| {
        if slow.load(Ordering::Relaxed) >= PATIENCE || !advise(map, page, LARGE_PAGE) {
            return true;
        }
        let began = time_of_thread();
        // SAFETY: within the mapping, and the caller answers for this part.
        unsafe { map.as_ptr().cast_mut().add(page).write_volatile(0) };
        if time_of_thread().saturating_sub(began) > SLOW {
            slow.fetch_add(1, Ordering::Relaxed);
        }
        false
    };
    // Other systems are not asked for large pages, so none is left out.
    let part = if cfg!(target_os = "linux") { part } else { 0..0 };
    let pages: Vec<usize> = part.step_by(LARGE_PAGE).collect();
    Small { map: Arc::clone(map), pages: pages.into_par_iter().filter(is_left).collect() }
}

/// The thread that makes large pages of small ones. It ends with its work, and when this is dropped.
pub struct Settling {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Settling {
    /// Starts after `rest`, if there is something to do and a thread to be had. Otherwise the pages stay small, which
    /// is slower and nothing else.
    pub(super) fn start(small: Small, rest: Duration) -> Option<Self> {
        if small.pages.is_empty() {
            return None;
        }
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let work = move || {
            thread::park_timeout(rest);
            for &page in &small.pages {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                let began = Instant::now();
                collapse(&small.map, page);
                thread::park_timeout(began.elapsed()); // half of the time is for others
            }
        };
        let thread = thread::Builder::new().name("large-pages".to_owned()).spawn(work).ok()?;
        Some(Self { ends, thread: Some(thread) })
    }

    /// Waits until all is done.
    pub(crate) fn wait(&self) {
        /// Between two looks.
        const PAUSE: Duration = Duration::from_millis(5);
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join(); // it does not panic; and if it did, nothing would be lost
        }
    }
}

/// How long this thread has had a processor: others that want one too make nothing slow. A host's work is counted in.
#[cfg(target_os = "linux")]
fn time_of_thread() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the system writes to the place that it is given, if anything.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Asks for large pages in a part of a mapping that has not been written to. False if the system has none.
#[cfg(target_os = "linux")]
pub(super) fn advise(map: &MmapMut, from: usize, len: usize) -> bool {
    map.advise_range(memmap2::Advice::HugePage, from, len).is_ok()
}

/// Makes a large page of small ones, if the system does that (Linux 6.1). What is in them stays.
#[cfg(target_os = "linux")]
fn collapse(map: &MmapMut, page: usize) {
    /// `MADV_COLLAPSE`, which not every C library names.
    const COLLAPSE: libc::c_int = 25;
    if advise(map, page, LARGE_PAGE) {
        // SAFETY: the range was just found to be in the mapping. The call replaces pages by one with the same contents, as the
        // system does unasked; it fails without a change where it cannot.
        unsafe { libc::madvise(map.as_ptr().add(page).cast_mut().cast(), LARGE_PAGE, COLLAPSE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn time_of_thread() -> Duration {
    Duration::ZERO
}

/// Other systems are not asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn advise(_: &MmapMut, _: usize, _: usize) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn collapse(_: &MmapMut, _: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: usize = 3;

    fn mapping() -> (Arc<MmapMut>, usize) {
        let map = MmapMut::map_anon((PAGES + 1) * LARGE_PAGE).unwrap();
        let start = map.as_ptr().align_offset(LARGE_PAGE);
        (Arc::new(map), start)
    }

    #[test]
    fn pages_are_large_or_known_to_be_small_and_stay_zero() {
        let (map, start) = mapping();
        // SAFETY: nobody else has the mapping.
        let small = unsafe { fault_in(&map, start..start + PAGES * LARGE_PAGE) };
        assert!(small.pages.iter().all(|page| (page - start) % LARGE_PAGE == 0 && *page < start + PAGES * LARGE_PAGE));
        assert!(map.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn what_is_in_small_pages_stays_when_they_become_large() {
        let (mut map, start) = mapping();
        let of = |at: usize| (at / 4096 + at % 251) as u8;
        Arc::get_mut(&mut map).unwrap().iter_mut().enumerate().for_each(|(at, byte)| *byte = of(at));
        let pages = (0..PAGES).map(|page| start + page * LARGE_PAGE).collect();
        let settling = Settling::start(Small { map: Arc::clone(&map), pages }, Duration::ZERO).unwrap();
        while Arc::strong_count(&map) > 1 {
            assert!(map.iter().step_by(509).enumerate().all(|(n, &byte)| byte == of(509 * n)));
        }
        settling.wait();
        drop(settling);
        assert!(map.iter().enumerate().all(|(at, &byte)| byte == of(at)));
    }

    #[test]
    fn who_drops_the_model_waits_for_no_rest() {
        let (map, start) = mapping();
        let began = Instant::now();
        let settling = Settling::start(Small { map: Arc::clone(&map), pages: vec![start] }, Duration::from_secs(600));
        drop(settling);
        assert!(began.elapsed() < Duration::from_secs(300));
        assert_eq!(Arc::strong_count(&map), 1, "the thread is gone");
        assert!(Settling::start(Small { map, pages: Vec::new() }, REST).is_none());
    }
}
