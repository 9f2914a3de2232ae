//! Transfers that are cut, stopped, repeated or wrong.

use super::*;

#[test]
fn a_cut_transfer_goes_on_where_it_was_cut() {
    let scratch = Scratch::new();
    let file = bytes(300_000);
    let server = scripted(&file, |request, file| {
        let answer = Answer::of(file, request.from);
        if request.number < 6 { answer.cut(40_000) } else { answer }
    });
    let options = options(&scratch, &server);
    // More cuts than attempts: one that brought something does not count.
    assert_eq!(fs::read(get("o/r", &options).unwrap()).unwrap(), file);
    let starts = [None, Some(40_000), Some(80_000), Some(120_000), Some(160_000), Some(200_000), Some(240_000)];
    assert_eq!(server.ranges(), starts);
}

#[test]
fn a_later_process_goes_on_with_what_an_earlier_one_left() {
    let scratch = Scratch::new();
    let file = bytes(300_000);
    let server = Server::hub(vec![("m.gguf", file.clone())]);
    let options = options(&scratch, &server);
    let (target, part) = paths(&options);
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    fs::write(&part, &file[..123_456]).unwrap();
    assert_eq!(get("o/r", &options).unwrap(), target);
    assert_eq!(fs::read(&target).unwrap(), file);
    assert_eq!(server.ranges(), [Some(123_456)]);
}

#[test]
fn leftovers_of_any_kind_do_no_harm() {
    let file = bytes(100_000);
    for leftover in [Vec::new(), bytes(99_999)[1..].to_vec(), file.clone(), bytes(100_001), vec![0; 300_000]] {
        let scratch = Scratch::new();
        let server = Server::hub(vec![("m.gguf", file.clone())]);
        let options = options(&scratch, &server);
        let (target, part) = paths(&options);
        fs::create_dir_all(part.parent().unwrap()).unwrap();
        fs::write(&part, &leftover).unwrap();
        fs::write(target.with_extension("gguf.lock"), "whatever").unwrap();
        assert_eq!(fs::read(get("o/r", &options).unwrap()).unwrap(), file, "{} bytes left", leftover.len());
        assert!(!part.exists());
    }
}

#[test]
fn a_server_that_ignores_ranges_is_read_from_the_beginning() {
    let scratch = Scratch::new();
    let file = bytes(200_000);
    let server = scripted(&file, |request, file| {
        let answer = Answer::whole(file);
        if request.number == 0 { answer.cut(50_000) } else { answer }
    });
    let options = options(&scratch, &server);
    assert_eq!(fs::read(get("o/r", &options).unwrap()).unwrap(), file);
    assert_eq!(server.ranges(), [None, Some(50_000)]);
}

#[test]
fn a_server_that_answers_with_another_range_is_not_trusted() {
    let scratch = Scratch::new();
    let file = bytes(200_000);
    let server = scripted(&file, |request, file| match request.from {
        None if request.number == 0 => Answer::whole(file).cut(50_000),
        None => Answer::whole(file),
        Some(_) => Answer::of(file, Some(60_000)),
    });
    let options = options(&scratch, &server);
    assert_eq!(fs::read(get("o/r", &options).unwrap()).unwrap(), file);
    assert_eq!(server.ranges(), [None, Some(50_000), None]);
}

#[test]
fn a_wrong_file_is_refused_and_deleted() {
    let scratch = Scratch::new();
    let file = bytes(100_000);
    let mut wrong = file.clone();
    wrong[77] ^= 1;
    let server = scripted(&file, move |request, _| Answer::of(&wrong, request.from));
    let options = options(&scratch, &server);
    let error = get("o/r", &options).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, FetchError::Wrong { what: "SHA-256", .. }), "{text}");
    assert!(text.contains(&sha256(&file)) && text.contains("deleted"), "{text}");
    let (target, part) = paths(&options);
    assert!(!target.exists() && !part.exists());
}

#[test]
fn a_file_that_is_longer_than_announced_does_not_fill_the_disk() {
    let scratch = Scratch::new();
    let file = bytes(100_000);
    let server = scripted(&file, |_, _| {
        // No length in the head: the body goes on until the connection ends.
        Answer::new("200 OK", "", &bytes(5_000_000))
    });
    let options = options(&scratch, &server);
    let error = get("o/r", &options).unwrap_err();
    assert!(matches!(error, FetchError::Wrong { what: "size", .. }), "{error}");
    assert!(!paths(&options).0.exists());
}

#[test]
fn a_connection_that_falls_silent_is_given_up_and_what_came_is_kept() {
    let scratch = Scratch::new();
    let file = bytes(100_000);
    let server = scripted(&file, |request, file| {
        let answer = Answer::of(file, request.from);
        match request.number {
            0 => Answer { hang: Duration::from_secs(20), ..answer.cut(30_000) },
            _ => answer,
        }
    });
    let options = options(&scratch, &server);
    assert_eq!(fs::read(get("o/r", &options).unwrap()).unwrap(), file);
    assert_eq!(server.ranges(), [None, Some(30_000)]);
}

#[test]
fn it_can_be_stopped_and_gone_on_with() {
    let scratch = Scratch::new();
    let file = bytes(400_000);
    let server = scripted(&file, |request, file| {
        let answer = Answer::of(file, request.from);
        match request.number {
            0 => Answer { hang: Duration::from_secs(20), ..answer.cut(200_000) },
            _ => answer,
        }
    });
    let options = options(&scratch, &server);
    let cancelled = AtomicBool::new(false);
    let start = Instant::now();
    let mut stop_when_some_is_there = |progress: Progress<'_>| {
        if matches!(progress, Progress::Received { done, .. } if done > 0) {
            cancelled.store(true, Ordering::Relaxed);
        }
    };
    let error = fetch(&hub("o/r"), &options, &mut stop_when_some_is_there, &cancelled).unwrap_err();
    assert!(matches!(error, FetchError::Cancelled), "{error}");
    assert!(start.elapsed() < Duration::from_secs(15), "it waited for the server");
    let (target, part) = paths(&options);
    let kept = fs::metadata(&part).unwrap().len();
    assert!(kept > 0 && !target.exists());
    assert_eq!(fs::read(get("o/r", &options).unwrap()).unwrap(), file);
    assert_eq!(server.ranges(), [None, Some(kept as usize)]);
}

#[test]
fn two_at_once_fetch_it_once() {
    let scratch = Scratch::new();
    let file = bytes(2_000_000);
    let server = Server::hub(vec![("m.gguf", file.clone())]);
    let options = options(&scratch, &server);
    thread::scope(|scope| {
        let both: Vec<_> = (0..4).map(|_| scope.spawn(|| get("o/r", &options).unwrap())).collect();
        for one in both {
            assert_eq!(fs::read(one.join().unwrap()).unwrap(), file);
        }
    });
    assert_eq!(server.ranges(), [None]);
}
