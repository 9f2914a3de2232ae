/** What the server sends. Made from docs/schema by `UPDATE=1 cargo test -p causerie-tests --test packages`; do not edit. */

/** Somebody who is in a session. */
export interface Participant {
  /** The token's `sub`. */
  user_id: string;
  /** Their name. */
  username: string;
}

/** A session in a list. */
export interface SessionEntry {
  /** When its last message came, or it was created. */
  active: string;
  /** When it was created. */
  created: string;
  /** How many messages it has. */
  messages: number;
  /** The user id of its owner. */
  owner: string;
  /** Its id. */
  session_id: string;
  /** Its title. */
  session_title: string;
  /** When it ended, if it did. */
  ended?: string;
}

/** How fast an answer was. */
export interface Timings {
  /** From the request to its first token, in milliseconds. */
  first_token_ms: number;
  /** After the first token; `null` where it cannot be told. */
  tokens_per_second: number | null;
}

/** Tokens that an answer took. */
export interface Usage {
  /** Of those, found in the cache. */
  cached_tokens: number;
  /** Produced. */
  completion_tokens: number;
  /** Of the whole prompt. */
  prompt_tokens: number;
}

/** A message is stored and will not be lost, or the wish for another answer is taken in. */
export interface Ack {
  type: "ack";
  /** The message's id; after `regenerate`, that of the message to be answered. */
  message_id: string;
  /** The message's place in the session. */
  seq: number;
  /** Which session. */
  session_id: string;
  /** When. */
  timestamp: string;
  /** The client's own id of the message, if it gave one. */
  client_id?: string;
  /** What it answers. */
  ref?: string | number;
}

/** The answer to a command, for its asker alone. */
export interface CommandResponse {
  type: "command_response";
  /** The command, in lower case. */
  command: string;
  /** The answer, for people. */
  content: string;
  /** When. */
  timestamp: string;
  /** What it answers. */
  ref?: string | number;
  /** The session that the connection is in, if it is in one. */
  session_id?: string;
}

/** The token is good: the first frame of every connection. */
export interface ConnectionEstablished {
  type: "connection_established";
  /** "Connected as NAME". */
  message: string;
  /** What the user may do. */
  role: "user" | "admin";
  /** When. */
  timestamp: string;
  /** The token's `sub`. */
  user_id: string;
  /** The name that others see. */
  username: string;
}

/** What the client asked is refused, or an answer failed. The connection lives on unless a close follows. */
export interface Error {
  type: "error";
  /** For programs: an `ErrorCode`; new ones may come. */
  code: ErrorCode;
  /** For people. */
  message: string;
  /** Whether the same frame may succeed later. */
  retryable: boolean;
  /** When. */
  timestamp: string;
  /** More about the reason, for people. */
  detail?: string;
  /** The answer that failed after some deltas: drop them. */
  message_id?: string;
  /** What it answers. */
  ref?: string | number;
  /** When, in milliseconds from now. */
  retry_after_ms?: number;
  /** Of a failed answer: in which session. */
  session_id?: string;
}

/** Known codes; new ones may come. */
export type ErrorCode =
  | "frame_too_large"
  | "invalid_json"
  | "too_deeply_nested"
  | "unknown_type"
  | "invalid_field"
  | "title_too_long"
  | "username_too_long"
  | "token_too_long"
  | "message_too_long"
  | "empty_message"
  | "binary_frame"
  | "not_in_session"
  | "session_not_found"
  | "message_not_found"
  | "session_ended"
  | "not_owner"
  | "not_author"
  | "too_many_members"
  | "nothing_to_stop"
  | "authentication_failed"
  | "wrong_user"
  | "too_many_connections"
  | "too_many_frames"
  | "rate_limited"
  | "too_many_sessions"
  | "overloaded"
  | "server_draining"
  | "storage_failed"
  | "ai_unavailable"
  | "context_exceeded"
  | "quota_exceeded"
  | "generation_failed"
  | (string & {});

/** A page of the session's messages: the answer to `history`. */
export interface HistoryPage {
  type: "history_page";
  /** As `message` frames, by rising `seq`. */
  messages: Message[];
  /** Whether there are older ones. */
  more: boolean;
  /** Which session. */
  session_id: string;
  /** When. */
  timestamp: string;
  /** What it answers. */
  ref?: string | number;
}

/** A user may join a session: to its owner, and to that user on all their connections. */
export interface Invited {
  type: "invited";
  /** Who let them: a name. */
  by: string;
  /** Which session. */
  session_id: string;
  /** Its title. */
  session_title: string;
  /** When. */
  timestamp: string;
  /** Who may join. */
  username: string;
  /** What it answers. */
  ref?: string | number;
}

/** A message that is stored. An assistant's comes whole, after its deltas. */
export interface Message {
  type: "message";
  /** The text. */
  content: string;
  /** Its id. */
  id: string;
  /** Who speaks. */
  role: "user" | "assistant" | "system";
  /** Its place in the session: without gaps, from 1. */
  seq: number;
  /** Which session. */
  session_id: string;
  /** When it was stored. */
  timestamp: string;
  /** The author's own id of it, if they gave one. */
  client_id?: string;
  /** Why it ended, of an assistant's message. */
  finish_reason?: "stop" | "length" | "stopped" | "error";
  /** The message that it follows or answers; the first one has none. */
  parent?: string;
  /** How fast it was, of an assistant's message that comes live and not from storage. */
  timings?: Timings;
  /** What it took, of an assistant's message. */
  usage?: Usage;
  /** The author's user id, of a user's message. */
  user_id?: string;
  /** The author's name, of a user's message. */
  username?: string;
}

/** A piece of the answer that is being generated. */
export interface MessageDelta {
  type: "message_delta";
  /** The piece: whole characters. */
  content: string;
  /** The id that the answer will have. */
  message_id: string;
  /** Where the piece begins, in bytes (UTF-8) of the answer: as many as the pieces before it have. */
  offset: number;
  /** Which session. */
  session_id: string;
}

/** Something that the client should know, and that went wrong for nobody. */
export interface Notice {
  type: "notice";
  /** For programs: a `NoticeCode`; new ones may come. */
  code: NoticeCode;
  /** For people. */
  message: string;
  /** When. */
  timestamp: string;
  /** What it answers. */
  ref?: string | number;
  /** Which session it is about, if it is about one. */
  session_id?: string;
}

/** Known codes; new ones may come. */
export type NoticeCode =
  | "context_trimmed"
  | "token_expiring"
  | "token_renewed"
  | "server_draining"
  | "messages_missing"
  | (string & {});

/** The answer to `ping`. */
export interface Pong {
  type: "pong";
  /** When. */
  timestamp: string;
  /** What it answers. */
  ref?: string | number;
}

/** Another user has come into the session or is gone. */
export interface Presence {
  type: "presence";
  /** What they did. */
  event: "joined" | "left";
  /** Who is in the session now, each user once. */
  participants: Participant[];
  /** Which session. */
  session_id: string;
  /** When. */
  timestamp: string;
  /** Who. */
  user_id: string;
  /** Their name. */
  username: string;
}

/** The session and all its messages are gone, and nobody is in it any more. */
export interface SessionDeleted {
  type: "session_deleted";
  /** Which session. */
  session_id: string;
  /** When. */
  timestamp: string;
  /** What it answers, if the asker is not in the session. */
  ref?: string | number;
}

/** The session takes no more messages, and nobody is in it any more. Its messages are kept. */
export interface SessionEnded {
  type: "session_ended";
  /** "Session ended by NAME". */
  message: string;
  /** Which session. */
  session_id: string;
  /** When. */
  timestamp: string;
  /** What it answers, if the asker is not in the session. */
  ref?: string | number;
}

/** The connection is in a session now: the answer to `create_session` and `join_session`. */
export interface SessionJoined {
  type: "session_joined";
  /** This life of the server: to be told in `since`. */
  epoch: string;
  /** The user id of the session's owner. */
  owner: string;
  /** Who is in the session, each user once, this one included. */
  participants: Participant[];
  /** Whether exactly what the client misses follows. Otherwise it must take the history anew. */
  resumed: boolean;
  /** The `seq` of the session's last message, 0 when it has none. */
  seq: number;
  /** Which session. */
  session_id: string;
  /** Its title. */
  session_title: string;
  /** When. */
  timestamp: string;
  /** The message from which the conversation goes on, if there is one. */
  last_message?: string;
  /** What it answers. */
  ref?: string | number;
}

/** The connection has left the session: the answer to `leave_session`. */
export interface SessionLeft {
  type: "session_left";
  /** Which session. */
  session_id: string;
  /** When. */
  timestamp: string;
  /** What it answers. */
  ref?: string | number;
}

/** The user's sessions: the answer to `list_sessions`. */
export interface SessionList {
  type: "session_list";
  /** The most recently active first. */
  sessions: SessionEntry[];
  /** When. */
  timestamp: string;
  /** What it answers. */
  ref?: string | number;
}

/** A session has another title. */
export interface SessionRenamed {
  type: "session_renamed";
  /** Which session. */
  session_id: string;
  /** Its title from now on. */
  session_title: string;
  /** When. */
  timestamp: string;
  /** What it answers, if the asker is not in the session. */
  ref?: string | number;
}

/** Somebody types or has stopped: the assistant (`role`, `message_id`) or a user (`user_id`, `username`). */
export interface Typing {
  type: "typing";
  /** Whether they type. */
  is_typing: boolean;
  /** Which session. */
  session_id: string;
  /** When. */
  timestamp: string;
  /** The id that the answer will have, if it gets one. */
  message_id?: string;
  /** The message that is answered, when the answer begins. */
  parent?: string;
  /** `assistant`. */
  role?: "user" | "assistant" | "system";
  /** Which user. */
  user_id?: string;
  /** Their name. */
  username?: string;
}

export type ServerFrame =
  | Ack
  | CommandResponse
  | ConnectionEstablished
  | Error
  | HistoryPage
  | Invited
  | Message
  | MessageDelta
  | Notice
  | Pong
  | Presence
  | SessionDeleted
  | SessionEnded
  | SessionJoined
  | SessionLeft
  | SessionList
  | SessionRenamed
  | Typing;
