//! Bounds of connections, users and members.

use std::time::Duration;

use causerie_core::{ConnectError, Identity, Input, Role, limits};
use serde_json::json;

use crate::driver::Driver;
use crate::{answer, say, with};

#[test]
fn connections() {
    let mut d = with(|l| l.connections = 3);
    let first = d.connect();
    d.connect();
    d.connect();
    assert_eq!(d.hub.connect(d.now), Err(ConnectError::Full { limit: 3 }));
    d.close(first);
    d.connect();
}

#[test]
fn connections_of_a_user() {
    let mut d = with(|l| l.connections_per_user = 2);
    d.user("Ann");
    let second = d.user("Ann");
    let third = d.connect();
    d.authenticate(third, "Ann", Role::User, Duration::from_secs(60));
    let refused = d.read_one(third);
    assert_eq!((&refused["code"], &refused["retryable"]), (&json!("too_many_connections"), &json!(true)));
    assert_eq!(d.peers[&third].close.as_ref().map(|c| c.0), Some(4500));
    d.user("Bob");
    d.close(second);
    d.user("Ann");
}

#[test]
fn who_may_have_no_connection_is_not_remembered() {
    let mut d = with(|l| l.connections_per_user = 0);
    let ann = d.connect();
    d.authenticate(ann, "Ann", Role::User, Duration::from_secs(60));
    assert_eq!(d.read_one(ann)["code"], "too_many_connections");
    d.close(ann);
    assert_eq!(d.hub.counts().users, 0);
}

#[test]
fn members_of_a_session() {
    let mut d = Driver::default();
    let ann = d.user("Ann");
    d.session(ann);
    for i in 1..limits::MEMBERS {
        d.pass(Duration::from_millis(20));
        let seen = answer(&mut d, ann, &json!({ "type": "invite", "username": format!("guest {i}") }));
        assert_eq!(seen["type"], "invited", "{seen}");
    }
    assert_eq!(answer(&mut d, ann, &json!({ "type": "invite", "username": "one more" }))["code"], "too_many_members");
}

#[test]
fn a_member_whose_connections_join_at_once_counts_once() {
    let mut d = Driver::default();
    let (ann, bob, phone) = (d.user("Ann"), d.user("Bob"), d.user("Bob"));
    let session = d.session(ann);
    d.send(ann, &json!({ "type": "invite", "username": "Bob" }));
    d.storage.held = true;
    for connection in [bob, phone] {
        d.send(connection, &json!({ "type": "join_session", "session_id": session }));
    }
    d.release_storage();
    for connection in [bob, phone] {
        assert!(d.read_types(connection).contains(&"session_joined".to_string()));
    }
    d.read(ann);
    for i in 2..limits::MEMBERS {
        d.pass(Duration::from_millis(20));
        let seen = answer(&mut d, ann, &json!({ "type": "invite", "username": format!("guest {i}") }));
        assert_eq!(seen["type"], "invited", "{i}: {seen}");
    }
    assert_eq!(answer(&mut d, ann, &json!({ "type": "invite", "username": "one more" }))["code"], "too_many_members");
}

#[test]
fn connections_of_a_session() {
    let mut d = with(|l| l.connections_per_session = 2);
    let (ann, tab, third) = (d.user("Ann"), d.user("Ann"), d.user("Ann"));
    let session = d.session(ann);
    let join = json!({ "type": "join_session", "session_id": session, "id": 1 });
    assert_eq!(answer(&mut d, tab, &join)["type"], "session_joined");
    assert_eq!(answer(&mut d, tab, &join)["type"], "session_joined", "who is in it may join again");
    let refused = answer(&mut d, third, &join);
    assert_eq!((&refused["code"], &refused["ref"]), (&json!("overloaded"), &json!(1)));
    let own = d.session(third);
    assert_eq!(answer(&mut d, third, &join)["code"], "overloaded");
    assert_eq!(answer(&mut d, third, &say("Still here"))["type"], "ack", "it stays where it was: {own}");
    d.close(tab);
    d.read(third);
    assert_eq!(answer(&mut d, third, &join)["type"], "session_joined");
}

#[test]
fn bytes_of_who_somebody_is() {
    let mut d = Driver::default();
    for (field, most) in [("id", limits::USER_ID_BYTES), ("username", limits::USERNAME_BYTES)] {
        for (bytes, fits) in [(most, true), (most + 1, false)] {
            let text = "x".repeat(bytes);
            let (user_id, username) = if field == "id" { (text, "Ann".into()) } else { ("id-Ann".into(), text) };
            let who = d.connect();
            let expires = d.now + Duration::from_secs(60);
            d.give(Input::Authenticated {
                connection: who,
                identity: Identity { user_id, username, role: Role::User, expires },
            });
            let frame = d.read_one(who);
            assert_eq!(frame["type"] == "connection_established", fits, "{field} of {bytes} bytes: {frame}");
            if !fits {
                let message = format!("The user's {field} has {bytes} bytes, more than {most}");
                assert_eq!((&frame["code"], &frame["message"]), (&json!("authentication_failed"), &json!(message)));
                assert_eq!(d.peers[&who].close, Some((1008, message)));
            }
            d.close(who);
        }
    }
}
