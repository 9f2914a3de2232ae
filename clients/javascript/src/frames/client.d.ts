/** What clients send. Made from docs/schema by `UPDATE=1 cargo test -p causerie-tests --test packages`; do not edit. */

/** How the client wants its answer sampled. What is left out is the server's to choose. */
export interface Sampling {
  /** At most this many tokens. */
  max_tokens?: number;
  /** Only tokens with at least this part of the likeliest one's probability. */
  min_p?: number;
  /** Divides the logits of tokens seen lately; 1 changes nothing. */
  repetition_penalty?: number;
  /** The same seed, prompt and sampling give the same text. */
  seed?: number;
  /** Text that ends the answer and is not part of it. */
  stop?: string | string[];
  /** 0 is greedy; higher is more random. */
  temperature?: number;
  /** Only the k likeliest tokens; 0 for all. */
  top_k?: number;
  /** Only the likeliest tokens that together have this probability. */
  top_p?: number;
}

/** The last thing that a client knows of a session: from there it wants to go on. */
export interface Since {
  /** As `session_joined` told it. Another one is never resumed. */
  epoch: string;
  /** The `seq` of the last `message` that the client has, or that `session_joined` told if it has none since. */
  seq: number;
  /** The answer that the client has deltas of, and not yet the `message`. Counts only together with `offset`. */
  message_id?: string;
  /** How many bytes (UTF-8) of that answer the client has. Counts only together with `message_id`. */
  offset?: number;
}

/** Gives a fresh token, before the connection's old one expires. */
export interface Authenticate {
  type: "authenticate";
  /** The token, of the same user. */
  token: string;
  /** The client's own id of the frame. */
  id?: string | number;
}

/** Says something, or runs a command if it begins with `/`. */
export interface ChatMessage {
  type: "chat_message";
  /** The text; not only white space. */
  message: string;
  /** The client's own id of the message: repeating it is safe. */
  client_id?: string;
  /** The client's own id of the frame. */
  id?: string | number;
  /** The message that this one follows; otherwise the conversation's last one. */
  parent?: string;
  /** How its answer is to be sampled. */
  sampling?: Sampling;
}

/** Makes a session and enters it. */
export interface CreateSession {
  type: "create_session";
  /** The client's own id of the frame. */
  id?: string | number;
  /** Instructions to the model, for the whole session. */
  system?: string;
  /** Shown to people; "New chat" where there is none. */
  title?: string;
}

/** Deletes a session and all its messages, for good; for its owner. */
export interface DeleteSession {
  type: "delete_session";
  /** The client's own id of the frame. */
  id?: string | number;
  /** Which session; otherwise the one that the connection is in. */
  session_id?: string;
}

/** Says something else beside an earlier message of one's own. */
export interface EditMessage {
  type: "edit_message";
  /** The text; not only white space. A `/` at its beginning is text. */
  message: string;
  /** The message to stand beside: the new one gets the same `parent`. */
  message_id: string;
  /** The client's own id of the new message: repeating it is safe. */
  client_id?: string;
  /** The client's own id of the frame. */
  id?: string | number;
  /** How its answer is to be sampled. */
  sampling?: Sampling;
}

/** Asks for a page of the session's messages. */
export interface History {
  type: "history";
  /** Only messages with a smaller `seq`; otherwise the newest. */
  before?: number;
  /** The client's own id of the frame. */
  id?: string | number;
  /** At most this many messages; more than the server's limit counts as the limit, 0 as 1. */
  limit?: number;
}

/** Lets a user join the session; for its owner. */
export interface Invite {
  type: "invite";
  /** Whom; they need not have been here before. */
  username: string;
  /** The client's own id of the frame. */
  id?: string | number;
}

/** Enters a session; a connection is in one at a time. With `since` it goes on exactly where it was. */
export interface JoinSession {
  type: "join_session";
  /** Which session. */
  session_id: string;
  /** The client's own id of the frame. */
  id?: string | number;
  /** What the client knows of it already. */
  since?: Since;
}

/** Leaves the session. */
export interface LeaveSession {
  type: "leave_session";
  /** The client's own id of the frame. */
  id?: string | number;
}

/** Asks for the user's sessions, the most recently active first. */
export interface ListSessions {
  type: "list_sessions";
  /** The client's own id of the frame. */
  id?: string | number;
  /** At most this many; more than the server's limit counts as the limit. */
  limit?: number;
}

/** Asks for a `pong`. */
export interface Ping {
  type: "ping";
  /** The client's own id of the frame. */
  id?: string | number;
}

/** Asks for another answer beside the one there is. */
export interface Regenerate {
  type: "regenerate";
  /** The client's own id of the frame. */
  id?: string | number;
  /** An answer to be made anew, or a user's message to be answered; otherwise the conversation's last message. */
  message_id?: string;
  /** How the answer is to be sampled. */
  sampling?: Sampling;
}

/** Gives a session another title; for its owner. */
export interface RenameSession {
  type: "rename_session";
  /** The new title; made one line. */
  title: string;
  /** The client's own id of the frame. */
  id?: string | number;
  /** Which session; otherwise the one that the connection is in. */
  session_id?: string;
}

/** Stops the answer that is being generated; its text so far is kept. */
export interface StopGeneration {
  type: "stop_generation";
  /** The client's own id of the frame. */
  id?: string | number;
  /** Only if this is the answer under way. */
  message_id?: string;
}

/** Tells the others that this user types, or has stopped. */
export interface Typing {
  type: "typing";
  /** Whether they type. */
  is_typing: boolean;
  /** The client's own id of the frame. */
  id?: string | number;
}

export type ClientFrame =
  | Authenticate
  | ChatMessage
  | CreateSession
  | DeleteSession
  | EditMessage
  | History
  | Invite
  | JoinSession
  | LeaveSession
  | ListSessions
  | Ping
  | Regenerate
  | RenameSession
  | StopGeneration
  | Typing;
