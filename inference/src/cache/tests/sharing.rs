//! Who finds what: sessions, prompts that are shared, and what gives way.

use super::*;

#[test]
fn the_next_turn_of_a_session_knows_all_of_the_last() {
    let mut cache = cache(10);
    let ((known, own), mut history) = answered(&mut cache, Some(1), &tokens(100), 50);
    assert_eq!((known, own, history.len()), (0, 0, 150));
    history.extend([1, 2, 3]);
    assert_eq!(turn(&mut cache, Some(1), &history), (150, 150));
    assert_eq!(turn(&mut cache, Some(1), &history), (152, 152), "the last token is computed, for its logits");
    history[70] = 999;
    assert_eq!(turn(&mut cache, Some(1), &history), (70, 70));
}

#[test]
fn prompts_are_shared_by_all_and_counted_for_none_but_those_who_left_them() {
    let mut cache = cache(20);
    turn(&mut cache, Some(1), &tokens(100));
    assert_eq!(turn(&mut cache, Some(2), &tokens(120)), (100, 0), "a full page, and the beginning of another");
    assert_eq!(turn(&mut cache, None, &tokens(130)), (120, 0));
    assert_eq!(turn(&mut cache, Some(2), &tokens(140)), (130, 120));
    // The first session goes another way within a page that others have; they do not notice.
    let mut other = tokens(100);
    other[10] = 999;
    assert_eq!(turn(&mut cache, Some(1), &other), (10, 10));
    assert_eq!(turn(&mut cache, Some(2), &tokens(140)), (139, 139));
}

#[test]
fn answers_are_their_sessions_own() {
    let mut cache = cache(20);
    let ((..), mut history) = answered(&mut cache, Some(1), &tokens(100), 150);
    history.extend(tokens(30));
    assert_eq!(turn(&mut cache, Some(2), &history), (100, 0), "the prompt, to the middle of a page");
    assert_eq!(turn(&mut cache, Some(1), &history), (250, 250));
    // What follows an answer is computed on top of it.
    assert_eq!(turn(&mut cache, Some(3), &history), (279, 0), "the second session had all of it as a prompt");
    assert_eq!(turn(&mut cache, Some(1), &history), (279, 279));
    assert_eq!(answered(&mut cache, None, &tokens(64), 64).0, (63, 0));
    assert_eq!(turn(&mut cache, None, &[tokens(64), vec![500; 9]].concat()), (64, 0), "nobody's answer is not kept");
}

#[test]
fn a_page_is_shared_as_soon_as_it_is_full() {
    let mut cache = cache(20);
    let mut first = Running::begin(&mut cache, Some(1), &tokens(200));
    first.compute(&mut cache, 130).unwrap();
    let mut second = Running::begin(&mut cache, Some(2), &tokens(200));
    assert_eq!((second.known, second.own), (128, 0));
    // Both go on by themselves; whoever is later takes the page of the earlier.
    first.compute(&mut cache, 195).unwrap();
    second.compute(&mut cache, 195).unwrap();
    check(&cache, [&first, &second]);
    assert_eq!(cache.used_pages(), 3 + 2, "three full pages, and a last one each");
}

#[test]
fn a_session_finds_the_same_with_others_as_alone() {
    let mut cache = cache(30);
    let ((..), mut history) = answered(&mut cache, Some(1), &tokens(10), 40);
    history.extend(tokens(200));
    turn(&mut cache, Some(2), &history); // knows all of it, as a prompt
    assert_eq!(turn(&mut cache, Some(1), &history), (50, 50), "it goes on from its own answer");
}

#[test]
fn what_was_unused_longest_gives_way() {
    let mut cache = cache(3);
    for session in 1..=3 {
        turn(&mut cache, Some(session), &[session as u32; 30]);
    }
    turn(&mut cache, None, &[1; 30]);
    assert_eq!(turn(&mut cache, Some(4), &[4; 30]), (0, 0));
    assert_eq!(cache.bytes(), 3 * SHAPE.page_bytes());
    assert_eq!(turn(&mut cache, Some(2), &[2; 30]), (0, 0), "was forgotten");
    assert_eq!(turn(&mut cache, Some(1), &[1; 31]).0, 30, "was used after the second");
}

#[test]
fn what_runs_is_not_forgotten() {
    let mut cache = cache(4);
    let mut running = Running::begin(&mut cache, Some(1), &tokens(130));
    running.compute(&mut cache, 130).unwrap();
    for session in 2..9 {
        turn(&mut cache, Some(session), &[session as u32; 40]);
    }
    check(&cache, [&running]);
    let mut second = Running::begin(&mut cache, None, &[9; 65]);
    assert_eq!(second.compute(&mut cache, 65), Err(Exhausted));
    check(&cache, [&running, &second]);
}

#[test]
fn a_full_cache_says_so_and_stays_usable() {
    let mut cache = cache(2);
    let mut table = PageTable::default();
    cache.reserve(&mut table, 128).unwrap();
    let mut second = PageTable::default();
    assert_eq!(cache.reserve(&mut second, 1), Err(Exhausted));
    assert_eq!(cache.reserve(&mut table, 129), Err(Exhausted));
    cache.release(table);
    cache.reserve(&mut second, 100).unwrap();
    assert_eq!((cache.used_pages(), cache.limit_pages()), (2, 2));
}

#[test]
fn the_longest_silent_session_is_forgotten_beyond_the_limit() {
    let mut cache = cache(2);
    for session in 0..=SESSIONS as u128 {
        turn(&mut cache, Some(session), &[7; 3]);
    }
    assert_eq!(turn(&mut cache, Some(0), &[7; 3]), (2, 0));
    assert_eq!(turn(&mut cache, Some(SESSIONS as u128), &[7; 3]), (2, 2));
}

#[test]
fn a_deleted_session_leaves_nothing_but_what_others_left_too() {
    let mut cache = cache(30);
    let (_, first) = answered(&mut cache, Some(1), &tokens(150), 100);
    answered(&mut cache, Some(1), &[first.clone(), tokens(70)].concat(), 30);
    cache.forget(1);
    check(&cache, []);
    assert_eq!((cache.used_pages(), cache.tree.len()), (0, 0));

    // Another session has the first page, too, and a third goes on from the second.
    answered(&mut cache, Some(1), &tokens(200), 100);
    answered(&mut cache, Some(2), &tokens(70), 100);
    let running = Running::begin(&mut cache, Some(3), &tokens(129));
    cache.forget(1);
    check(&cache, [&running]);
    assert_eq!(turn(&mut cache, Some(2), &[tokens(70), vec![500; 9]].concat()).1, 70);
    cache.release(running.table);
    assert_eq!(turn(&mut cache, Some(1), &tokens(250)), (128, 0));
    // What is forgotten is not saved.
    cache.forget(1);
    cache.forget(2);
    assert!(turn(&mut saved::restart(&cache, 30), Some(2), &tokens(250)).0 <= 128);
}
