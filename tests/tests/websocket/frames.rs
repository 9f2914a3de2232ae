//! Frames of the protocol that are wrong, by the table that the core is tested with.

#[path = "../../../core/tests/bad_input/table.rs"]
#[allow(dead_code, reason = "the core's tests do more with it")]
mod table;

use causerie_tests::raw::{FIN, TEXT, frame, text};
use table::{Change, Comes, NOBODY, Takes};

use crate::{Closed, Room, assert_lives};

/// The code of the error, if one must come.
fn refused(comes: Comes) -> Option<&'static str> {
    match comes {
        Comes::Refused(code) => Some(code),
        Comes::Taken => None,
    }
}

#[test]
fn every_field_of_every_frame_wrong_is_told_and_the_connection_lives_on() {
    let room = Room::enter();
    for kind in table::kinds() {
        let good = table::good(kind, NOBODY, NOBODY);
        for field in table::fields(kind) {
            let name = format!("{kind}.{}", field.path.join("."));
            let mut wrong = Vec::new();
            for change in [Change::Missing, Change::Is("null")] {
                wrong.extend(
                    refused(table::without(&field)).map(|code| (table::changed(&good, field.path, change), code)),
                );
            }
            for (value, comes) in table::values(field.takes) {
                let changed = table::changed(&good, field.path, Change::Is(&value));
                wrong.extend(refused(comes).map(|code| (changed, code)));
            }
            // A connection for each: all on one would be too many frames a second.
            let mut raw = room.connect();
            for (frame, code) in wrong {
                raw.send(&text(&frame));
                let error = raw.expect("error");
                // What only a session can tell comes after that there is none.
                let codes = [code, if code == "empty_message" { "not_in_session" } else { code }];
                assert!(codes.iter().any(|code| error["code"] == *code), "{name}: {frame:.300}: {error}");
            }
            assert_lives(&mut raw, &name);
        }
    }
}

#[test]
fn every_text_that_is_not_utf_8_ends_its_connection() {
    let room = Room::enter();
    for kind in table::kinds() {
        let good = table::good(kind, NOBODY, NOBODY);
        for field in table::fields(kind) {
            if !matches!(field.takes, Takes::Type | Takes::Text(..) | Takes::Uuid(_) | Takes::Reference) {
                continue;
            }
            let mut bytes = table::changed(&good, field.path, Change::Is("\"here: @\"")).into_bytes();
            let at = bytes.iter().position(|byte| *byte == b'@').expect("it was put there");
            bytes[at] = 0xff;
            room.check(&format!("{kind}.{}", field.path.join(".")), &frame(FIN | TEXT, &bytes), Closed(1007));
        }
    }
}
