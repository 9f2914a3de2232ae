//! What is saved, and what is found of it again: whole, or nothing.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::file::{Index, SavedNode, SavedSession};
use super::super::saving::PAGES_DUE;
use super::*;
use crate::mapping::Bytes;

const KEY: u128 = 0x1234;

/// A path where there is no file; what is put there is gone at the end.
pub(super) struct TempFile(pub(super) PathBuf);

impl TempFile {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("causerie-cache-{}-{count}.kv", std::process::id())))
    }

    fn with(bytes: &[u8]) -> Self {
        let file = Self::new();
        std::fs::write(&file.0, bytes).unwrap();
        file
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Stops and starts again, with so many pages of memory.
pub(super) fn restart(cache: &Cache, pages: usize) -> Cache {
    let file = TempFile::new();
    cache.save(&file.0, KEY).unwrap();
    Cache::open(SHAPE, pages * SHAPE.page_bytes(), &file.0, KEY).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    Cache::open(SHAPE, 1 << 20, &TempFile::with(bytes).0, KEY).err().unwrap().to_string()
}

#[test]
fn the_next_turn_after_a_restart_knows_all_of_the_last() {
    let mut cache = cache(10);
    let (_, mut history) = answered(&mut cache, Some(1), &tokens(100), 50);
    history.extend([1, 2, 3]);
    let mut cache = restart(&cache, 10);
    assert_eq!(cache.used_pages(), 0, "nothing is read before it is needed");
    assert_eq!(turn(&mut cache, Some(2), &history), (100, 0));
    assert_eq!(turn(&mut cache, Some(1), &history), (150, 150));
    let mut cache = restart(&restart(&cache, 10), 10);
    assert_eq!(turn(&mut cache, Some(1), &history), (152, 152));
    check(&cache, []);
}

#[test]
fn the_file_goes_on_where_memory_ends() {
    let mut large = cache(20);
    for session in 1..=4 {
        turn(&mut large, Some(session), &[session as u32; 200]);
    }
    let mut small = restart(&large, 5);
    for session in [1, 2, 3, 4, 1, 3] {
        assert_eq!(turn(&mut small, Some(session), &[session as u32; 200]), (199, 199));
        check(&small, []);
    }
    // What came from the file and what is new are saved together.
    turn(&mut small, Some(9), &[9; 100]);
    let mut again = restart(&small, 20);
    for session in 1..=4 {
        assert_eq!(turn(&mut again, Some(session), &[session as u32; 200]).0, 199);
    }
    assert_eq!(turn(&mut again, Some(9), &[9; 100]), (99, 99));
}

#[test]
fn what_was_used_last_is_saved_first_and_no_more_than_the_limit() {
    let mut cache = cache(20);
    for session in 1..=3 {
        turn(&mut cache, Some(session), &[session as u32; 100]);
    }
    turn(&mut cache, Some(1), &[1; 90]);
    let page_of = |limit| {
        let (index, sources) = cache.listing(limit);
        assert_eq!(sources.len(), limit.min(6));
        index.nodes.iter().map(|node| node.tokens[0]).collect::<Vec<_>>()
    };
    assert_eq!(page_of(1), [1]);
    assert_eq!(page_of(4), [1, 1, 3, 3]);
    assert_eq!(page_of(6), page_of(7));
}

/// A cache with three sessions of four pages each, and where it is saved.
fn three_sessions() -> (Cache, TempFile) {
    let mut cache = cache(20);
    for session in 1..=3 {
        turn(&mut cache, Some(session), &[session as u32; 200]);
    }
    (cache, TempFile::new())
}

fn piece(cache: &mut Cache, file: &TempFile) -> Option<usize> {
    cache.save_piece(1, &file.0, KEY).unwrap()
}

#[test]
fn a_cache_is_saved_in_pieces_while_it_is_used() {
    let (mut cache, file) = three_sessions();
    let mut pieces = 0;
    let pages = loop {
        pieces += 1;
        if let Some(pages) = piece(&mut cache, &file) {
            break pages;
        }
        assert!(cache.is_saving() && !file.0.exists(), "it appears when it is whole");
        turn(&mut cache, Some(1), &[1; 230]);
    };
    assert_eq!((pages, pieces), (12, 12));
    assert!(!cache.is_saving() && !file.0.with_extension("unfinished").exists());
    let mut next = Cache::open(SHAPE, 20 * SHAPE.page_bytes(), &file.0, KEY).unwrap();
    for session in 1..=3 {
        assert_eq!(turn(&mut next, Some(session), &[session as u32; 200]), (199, 199));
    }
}

#[test]
fn saving_is_due_when_enough_is_new() {
    let mut cache = cache(PAGES_DUE + 2);
    let file = TempFile::new();
    turn(&mut cache, Some(1), &tokens(PAGE * (PAGES_DUE - 1)));
    assert!(!cache.saving_is_due());
    turn(&mut cache, Some(1), &tokens(PAGE * PAGES_DUE));
    assert!(cache.saving_is_due());
    while piece(&mut cache, &file).is_none() {}
    assert!(!cache.saving_is_due());
}

#[test]
fn what_is_forgotten_while_it_is_saved_is_in_no_file() {
    let (mut cache, file) = three_sessions();
    assert_eq!(piece(&mut cache, &file), None);
    cache.forget(2);
    assert!(cache.saving_is_due() && !cache.is_saving());
    assert!(!file.0.with_extension("unfinished").exists());
    while piece(&mut cache, &file).is_none() {}
    assert!(!cache.saving_is_due());
    let mut next = Cache::open(SHAPE, 20 * SHAPE.page_bytes(), &file.0, KEY).unwrap();
    assert_eq!([1, 2, 3].map(|session| turn(&mut next, Some(session), &[session as u32; 200]).0), [199, 0, 199]);
}

#[test]
fn a_page_that_gives_way_while_it_is_saved_makes_saving_begin_again() {
    let mut cache = cache(8);
    let file = TempFile::new();
    turn(&mut cache, Some(1), &[1; 200]);
    turn(&mut cache, Some(2), &[2; 200]);
    assert_eq!(piece(&mut cache, &file), None);
    turn(&mut cache, Some(3), &[3; 400]);
    while piece(&mut cache, &file).is_none() {}
    let mut next = Cache::open(SHAPE, 8 * SHAPE.page_bytes(), &file.0, KEY).unwrap();
    assert_eq!(turn(&mut next, Some(3), &[3; 400]), (399, 399));
    check(&next, []);
}

#[test]
fn what_is_forgotten_and_cannot_be_saved_anew_is_removed() {
    let (mut cache, file) = three_sessions();
    cache.save(&file.0, KEY).unwrap();
    let obstacle = file.0.with_extension("unfinished");
    std::fs::create_dir(&obstacle).unwrap();
    assert!(cache.save_some(&file.0, KEY).is_err() && file.0.exists(), "nothing in it was forgotten");
    cache.forget(2);
    assert!(cache.save_some(&file.0, KEY).is_err() && !file.0.exists());
    std::fs::remove_dir(&obstacle).unwrap();
}

#[test]
fn sequences_that_run_save_their_full_pages() {
    let mut cache = cache(10);
    let mut running = Running::begin(&mut cache, Some(1), &tokens(150));
    running.compute(&mut cache, 150).unwrap();
    let mut next = restart(&cache, 10);
    assert_eq!(turn(&mut next, Some(1), &tokens(150)), (128, 0), "it has left nothing yet");
}

#[test]
fn other_files_are_refused() {
    let mut cache = cache(4);
    turn(&mut cache, Some(1), &tokens(100));
    let file = TempFile::new();
    assert!(matches!(Cache::open(SHAPE, 1, &file.0, KEY), Err(SavedError::Open(_))));
    cache.save(&file.0, KEY).unwrap();
    let other_shape = PageShape { layers: 1, ..SHAPE };
    let other_type = PageShape { kv: KvType::Q8, ..SHAPE };
    for (shape, key) in [(SHAPE, KEY + 1), (other_shape, KEY), (other_type, KEY)] {
        let refused = Cache::open(shape, 1 << 20, &file.0, key).err().unwrap().to_string();
        let expected = "the saved cache is of another model, other kernels or another type of keys and values; it will be written anew";
        assert_eq!(refused, expected);
    }
    let whole = std::fs::read(&file.0).unwrap();
    let mut newer = whole.clone();
    newer[8] = 2;
    assert_eq!(refused(&newer), "the saved cache has version 2, and this program reads 1; it will be written anew");
    assert_eq!(refused(b"SQLite format 3\0"), "the file is no saved cache; give a directory of its own");
    assert_eq!(refused(b""), "the file is no saved cache; give a directory of its own");
    for (at, what, limit) in [(60, "pages", SAVED_PAGES), (64, "nodes", 2 * SAVED_PAGES), (68, "sessions", SESSIONS)] {
        let mut many = whole.clone();
        many[at..at + 4].copy_from_slice(&(limit as u32 + 1).to_le_bytes());
        let expected = format!("{} {what}, and {limit} are allowed; it is not used", limit + 1);
        assert!(refused(&many).ends_with(&expected), "{}", refused(&many));
        many[at..at + 4].copy_from_slice(&(limit as u32).to_le_bytes());
        assert!(refused(&many).contains(" bytes instead of "), "{}", refused(&many));
    }
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_earlier_one() {
    let mut cache = cache(4);
    turn(&mut cache, Some(1), &tokens(100));
    let file = TempFile::new();
    cache.save(&file.0, KEY).unwrap();
    let unfinished = file.0.with_extension("unfinished");
    std::fs::create_dir(&unfinished).unwrap();
    assert!(cache.save(&file.0, KEY).is_err());
    std::fs::remove_dir(&unfinished).unwrap();
    let mut again = Cache::open(SHAPE, 1 << 20, &file.0, KEY).unwrap();
    assert_eq!(turn(&mut again, Some(1), &tokens(100)), (99, 99));
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let file = TempFile::new();
    cache(1).save(&file.0, KEY).unwrap();
    assert_eq!(std::fs::metadata(&file.0).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Nodes that are written with the right checksum, and yet cannot be.
#[test]
fn tables_that_cannot_be_are_refused() {
    let own = Origin::Generated { session: 7 };
    let node =
        |parent, origin, prompt, tokens: usize| SavedNode { parent, page: 0, origin, prompt, tokens: vec![5; tokens] };
    let file = |nodes: &[SavedNode], sessions: &[SavedSession]| {
        let index = Index { sums: vec![0], nodes: nodes.to_vec(), sessions: sessions.to_vec() };
        let mut bytes = index.encode(SHAPE, KEY);
        bytes.resize(bytes.len() + SHAPE.page_bytes(), 0);
        bytes
    };
    let good = node(None, Origin::Prompt, PAGE, PAGE);
    let whole = file(&[good.clone(), node(Some(0), own, 3, 9)], &[SavedSession { session: 7, node: 1, tokens: 73 }]);
    assert_eq!(Cache::open(SHAPE, 1, &TempFile::with(&whole).0, KEY).unwrap().saved_pages(), 1);
    for bad in [
        node(Some(1), Origin::Prompt, 3, 3),
        node(None, Origin::Prompt, 0, 0),
        node(None, Origin::Prompt, PAGE + 1, PAGE + 1),
        node(None, Origin::Prompt, 2, 3),
        node(None, own, 3, 3),
        SavedNode { page: 1, ..node(None, own, 0, 3) },
        good.clone(),
    ] {
        let bytes = file(&[good.clone(), bad.clone()], &[]);
        assert_eq!(refused(&bytes), "the nodes of the saved cache are damaged; it is not used", "{bad:?}");
    }
    let behind_short = [node(None, Origin::Prompt, 3, 3), node(Some(0), Origin::Prompt, 3, 3)];
    let behind_others = [node(None, own, 0, PAGE), node(Some(0), Origin::Generated { session: 8 }, 0, 3)];
    let prompt_behind_answer = [node(None, own, 0, PAGE), node(Some(0), Origin::Prompt, 3, 3)];
    for nodes in [behind_short, behind_others, prompt_behind_answer] {
        assert_eq!(refused(&file(&nodes, &[])), "the nodes of the saved cache are damaged; it is not used");
    }
    let nowhere = file(&[good], &[SavedSession { session: 7, node: 1, tokens: 1 }]);
    assert_eq!(refused(&nowhere), "the sessions of the saved cache are damaged; it is not used");
}

#[test]
fn sessions_of_a_file_have_no_more_nodes_than_the_limit() {
    const DEPTH: usize = 1024;
    let origin = Origin::Prompt;
    let nodes = (0..DEPTH as u32)
        .map(|at| SavedNode { parent: at.checked_sub(1), page: 0, origin, prompt: PAGE, tokens: vec![5; PAGE] })
        .collect();
    let session = |session| SavedSession { session, node: DEPTH as u32 - 1, tokens: 9 };
    let most = (1 << 20) / DEPTH as u128;
    let mut index = Index { sums: vec![0], nodes, sessions: (0..most).map(session).collect() };
    let file = |index: &Index| {
        let mut bytes = index.encode(SHAPE, KEY);
        bytes.resize(bytes.len() + SHAPE.page_bytes(), 0);
        bytes
    };
    assert!(Cache::open(SHAPE, 1, &TempFile::with(&file(&index)).0, KEY).is_ok());
    index.sessions.push(SavedSession { node: 0, ..session(most) });
    assert_eq!(refused(&file(&index)), "the sessions of the saved cache are damaged; it is not used");
}

/// Every truncation and every flipped byte of a small file: it is refused, or what is found of it is what was written.
#[test]
fn a_damaged_file_tells_nothing_false() {
    const TINY: PageShape = PageShape { layers: 1, kv_heads: 1, head_dim: 1, kv: KvType::Bf16 };
    let (mut cache, prompt) = (Cache::new(TINY, 1 << 20), tokens(150));
    let Resumed { mut table, .. } = cache.resume(Some(1), &prompt);
    cache.reserve(&mut table, 150).unwrap();
    for position in 0..150 {
        cache.store(&table, position, 0, &[position as f32], &[-(position as f32)]);
    }
    let bytes_of = |cache: &Cache, page| {
        let mut bytes = vec![0; TINY.page_bytes()];
        PageShape::encode(&cache.pool[page], &mut bytes);
        bytes
    };
    let pages: Vec<Vec<u8>> = table.pages.iter().map(|&page| bytes_of(&cache, page)).collect();
    cache.keep(table, &prompt);
    let file = TempFile::new();
    assert_eq!(cache.save(&file.0, KEY).unwrap(), 3);
    let whole = std::fs::read(&file.0).unwrap();

    // How many tokens are found, if the file is taken; all of them must be right.
    let found = |bytes: &[u8]| {
        let mut cache = Cache::with_file(TINY, 1 << 20, Bytes::Owned(bytes.to_vec()), KEY).ok()?;
        let Resumed { table, known, .. } = cache.resume(Some(1), &prompt);
        for (at, &page) in table.pages.iter().enumerate() {
            assert_eq!(bytes_of(&cache, page), pages[at]);
        }
        cache.release(table);
        check(&cache, []);
        Some(known)
    };
    assert_eq!(found(&whole), Some(149));
    for len in 0..whole.len() {
        assert_eq!(found(&whole[..len]), None, "cut off after {len} bytes");
    }
    assert_eq!(found(&[&whole[..], &[0]].concat()), None);
    let begin = whole.len() - 3 * TINY.page_bytes();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        // A page that is damaged costs itself and those behind it.
        let expected = at.checked_sub(begin).map(|at| at / TINY.page_bytes() * PAGE);
        assert_eq!(found(&damaged), expected, "{at}");
    }
}
