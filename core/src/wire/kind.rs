//! Every `type` there is, as closed lists: what the decoder knows and what the encoder writes.

/// Makes an enum of frame types.
macro_rules! kinds {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $($variant,)+
        }
    };
}

/// Reads them.
macro_rules! parse {
    ($name:ident { $($variant:ident = $text:literal,)+ }) => {
        impl $name {
            /// The type of a text, if the protocol has it.
            pub(crate) fn parse(text: &str) -> Option<$name> {
                match text {
                    $($text => Some($name::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

/// Writes them.
macro_rules! as_str {
    ($name:ident { $($variant:ident = $text:literal,)+ }) => {
        impl $name {
            /// On the wire.
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                }
            }
        }
    };
}

/// The frames of a client, in the order of the specification: `$make! { $what { frames } }`. This is their only list; types
/// for serde are made from it, too.
macro_rules! client_frames {
    ($make:ident! { $($what:tt)+ }) => {
        $make! {
            $($what)+ {
                JoinSession = "join_session",
                ChatMessage = "chat_message",
                Ping = "ping",
                CreateSession = "create_session",
                LeaveSession = "leave_session",
                StopGeneration = "stop_generation",
                Regenerate = "regenerate",
                EditMessage = "edit_message",
                History = "history",
                Typing = "typing",
                Invite = "invite",
                RenameSession = "rename_session",
                DeleteSession = "delete_session",
                ListSessions = "list_sessions",
                Authenticate = "authenticate",
            }
        }
    };
}

/// The frames of the server: see `client_frames`.
macro_rules! server_frames {
    ($make:ident! { $($what:tt)+ }) => {
        $make! {
            $($what)+ {
                ConnectionEstablished = "connection_established",
                SessionJoined = "session_joined",
                Message = "message",
                MessageDelta = "message_delta",
                Typing = "typing",
                Ack = "ack",
                Error = "error",
                Pong = "pong",
                CommandResponse = "command_response",
                Presence = "presence",
                HistoryPage = "history_page",
                SessionList = "session_list",
                Invited = "invited",
                SessionRenamed = "session_renamed",
                SessionLeft = "session_left",
                SessionEnded = "session_ended",
                SessionDeleted = "session_deleted",
                Notice = "notice",
            }
        }
    };
}

#[cfg(feature = "schema")]
pub(crate) use {client_frames, server_frames};

client_frames! {
    kinds! {
        /// The `type` of a client's frame.
        ClientKind
    }
}
client_frames! { parse! { ClientKind } }

server_frames! {
    kinds! {
        /// The `type` of a server's frame.
        ServerKind
    }
}
server_frames! { as_str! { ServerKind } }

#[cfg(test)]
mod tests {
    use super::*;

    /// All there are.
    macro_rules! all {
        ($name:ident { $($variant:ident = $text:literal,)+ }) => {
            impl $name {
                pub(crate) const ALL: &[$name] = &[$($name::$variant,)+];
            }
        };
    }

    client_frames! { all! { ClientKind } }
    client_frames! { as_str! { ClientKind } }
    server_frames! { all! { ServerKind } }
    server_frames! { parse! { ServerKind } }

    #[test]
    fn types_are_read_as_they_are_written() {
        for kind in ClientKind::ALL {
            assert_eq!(ClientKind::parse(kind.as_str()), Some(*kind));
        }
        for kind in ServerKind::ALL {
            assert_eq!(ServerKind::parse(kind.as_str()), Some(*kind));
        }
        assert_eq!((ClientKind::parse("Ping"), ServerKind::parse("ping")), (None, None));
    }
}
