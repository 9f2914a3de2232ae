//! Every change of state there is, in tables.
//!
//! The graphs in the documentation of the crate show the same; a test compares them with these tables.

/// A connection's states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionState {
    /// Its token is being verified; frames are held.
    Connecting,
    /// Known, and in no session.
    Ready,
    /// Its session is being looked up, created or joined; frames are held.
    Joining,
    /// In a session.
    Joined,
    /// To be closed once its last frames are out.
    Closing,
    /// `Close` is out; only `Closed` can come.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionEvent {
    Authenticated,
    Join,
    Attached,
    JoinFailed,
    JoinFailedInSession,
    Detached,
    Close,
    CloseSent,
}

/// A session's states, while it is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionState {
    /// Asked of storage.
    Loading,
    /// Being stored for the first time.
    Creating,
    /// In use.
    Live,
    /// An end or deletion waits for the running answer and for storage; no new messages.
    Ending,
    /// Ended or deleted; its people are told.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionEvent {
    Loaded,
    Created,
    End,
    EndFailed,
    EndStored,
}

/// An answer's states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GenerationState {
    /// Text may come.
    Running,
    /// Asked to end early; text may still come.
    Stopping,
    /// All text is here and is being stored.
    Storing,
    /// Told to everybody, as a message or as an error.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GenerationEvent {
    Stop,
    Finish,
    Fail,
    Stored,
    StoreFailed,
}

/// Rows: from, event, to.
pub(crate) type Table<S, E> = &'static [(S, E, S)];

pub(crate) const CONNECTION: Table<ConnectionState, ConnectionEvent> = {
    use ConnectionEvent as E;
    use ConnectionState as S;
    &[
        (S::Connecting, E::Authenticated, S::Ready),
        (S::Ready, E::Join, S::Joining),
        (S::Joined, E::Join, S::Joining),
        (S::Joining, E::Attached, S::Joined),
        (S::Joining, E::JoinFailed, S::Ready),
        (S::Joining, E::JoinFailedInSession, S::Joined),
        (S::Joining, E::Detached, S::Joining),
        (S::Joined, E::Detached, S::Ready),
        (S::Connecting, E::Close, S::Closing),
        (S::Ready, E::Close, S::Closing),
        (S::Joining, E::Close, S::Closing),
        (S::Joined, E::Close, S::Closing),
        (S::Closing, E::CloseSent, S::Closed),
    ]
};

pub(crate) const SESSION: Table<SessionState, SessionEvent> = {
    use SessionEvent as E;
    use SessionState as S;
    &[
        (S::Loading, E::Loaded, S::Live),
        (S::Creating, E::Created, S::Live),
        (S::Live, E::End, S::Ending),
        (S::Ending, E::EndFailed, S::Live),
        (S::Ending, E::EndStored, S::Ended),
    ]
};

pub(crate) const GENERATION: Table<GenerationState, GenerationEvent> = {
    use GenerationEvent as E;
    use GenerationState as S;
    &[
        (S::Running, E::Stop, S::Stopping),
        (S::Running, E::Finish, S::Storing),
        (S::Stopping, E::Finish, S::Storing),
        (S::Running, E::Fail, S::Done),
        (S::Stopping, E::Fail, S::Done),
        (S::Storing, E::Stored, S::Done),
        (S::Storing, E::StoreFailed, S::Done),
    ]
};

/// Moves `state` along its table; `false`, and nothing changed, where the table has no such row.
pub(crate) fn go<S: Copy + PartialEq, E: Copy + PartialEq>(table: Table<S, E>, state: &mut S, event: E) -> bool {
    match table.iter().find(|(from, e, _)| from == state && *e == event) {
        Some(&(.., to)) => {
            *state = to;
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;
    use core::fmt::Debug;

    fn rows<S: Debug, E: Debug>(table: Table<S, E>) -> Vec<String> {
        table.iter().map(|(from, event, to)| format!("{from:?} --{event:?}--> {to:?}")).collect()
    }

    #[test]
    fn the_documentation_shows_the_tables() {
        let documented: Vec<String> = include_str!("lib.rs")
            .lines()
            .filter(|line| line.starts_with("//! ") && line.contains("-->"))
            .map(|line| line[4..].split_whitespace().take(3).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(documented, [rows(CONNECTION), rows(SESSION), rows(GENERATION)].concat());
    }

    #[test]
    fn no_event_leads_two_ways() {
        fn check<S: PartialEq + Debug, E: PartialEq + Debug>(table: Table<S, E>) {
            for (i, (from, event, _)) in table.iter().enumerate() {
                assert!(!table[..i].iter().any(|(f, e, _)| f == from && e == event), "{from:?} {event:?}");
            }
        }
        check(CONNECTION);
        check(SESSION);
        check(GENERATION);
    }

    #[test]
    fn what_the_table_does_not_have_changes_nothing() {
        let mut state = ConnectionState::Closed;
        assert!(!go(CONNECTION, &mut state, ConnectionEvent::Join));
        assert_eq!(state, ConnectionState::Closed);
        state = ConnectionState::Ready;
        assert!(go(CONNECTION, &mut state, ConnectionEvent::Join));
        assert_eq!(state, ConnectionState::Joining);
    }
}
