//! What the strategies and the `Arbitrary` implementations make: everything there is, and no panic on any bytes.

use std::collections::BTreeSet;

use arbitrary::{Arbitrary, Unstructured};
use causerie_core::testing::{ClientFrame, Known, Request, Step, strategy, unstructured};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// The name of a variant, as `Debug` writes it.
fn variant(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_string()
}

const STEPS: usize = 15;
const REQUESTS: usize = 15;
const DAMAGES: usize = 8;

fn check_all(steps: &[Step]) {
    let frames: Vec<&ClientFrame> =
        steps.iter().filter_map(|step| if let Step::Send { frame, .. } = step { Some(frame) } else { None }).collect();
    let kinds: BTreeSet<_> = steps.iter().map(variant).collect();
    assert_eq!(kinds.len(), STEPS, "all but the drain: {kinds:?}");
    let kinds: BTreeSet<_> = frames.iter().map(|frame| frame.request.kind()).collect();
    assert_eq!(kinds.len(), REQUESTS, "{kinds:?}");
    let kinds: BTreeSet<_> = frames.iter().filter_map(|frame| frame.damage.as_ref()).map(variant).collect();
    assert_eq!(kinds.len(), DAMAGES, "{kinds:?}");
    let (named, whole) = (|f: &&&ClientFrame| f.named, |f: &&&ClientFrame| f.damage.is_none());
    for most in [frames.iter().filter(named).count(), frames.iter().filter(whole).count()] {
        assert!(most > frames.len() / 2 && most < frames.len(), "{most} of {}", frames.len());
    }
}

#[test]
fn strategies_make_everything_there_is() {
    let mut runner = TestRunner::deterministic();
    let steps = strategy::script(8_000).new_tree(&mut runner).expect("no filters").current();
    check_all(&steps);
}

#[test]
fn bytes_make_everything_there_is() {
    let mut runner = TestRunner::deterministic();
    let bytes = prop::collection::vec(any::<u8>(), 400_000).new_tree(&mut runner).expect("no filters").current();
    let mut u = Unstructured::new(&bytes);
    let steps: Vec<Step> = (0..8_000).map(|_| Step::arbitrary(&mut u).expect("bytes enough")).collect();
    check_all(&steps);
}

proptest! {
    #[test]
    fn a_frame_that_is_whole_is_json_with_its_fields(request in strategy::request(), id: u32) {
        let frame = ClientFrame::named(request);
        let json: serde_json::Value = serde_json::from_str(&frame.to_json(id.into(), &Known::default())).unwrap();
        prop_assert_eq!(&json["type"], frame.request.kind());
        prop_assert_eq!(&json["id"], id);
    }

    #[test]
    fn any_bytes_make_a_script_and_texts(bytes: Vec<u8>) {
        let mut u = Unstructured::new(&bytes);
        while !u.is_empty() {
            if let Ok(Step::Send { frame, .. }) = Step::arbitrary(&mut u) {
                frame.to_json(1, &Known::default());
            }
        }
        prop_assert!(unstructured::client_text(&mut Unstructured::new(&bytes)).is_ok());
        prop_assert!(Request::arbitrary(&mut Unstructured::new(&bytes)).is_ok());
    }
}
