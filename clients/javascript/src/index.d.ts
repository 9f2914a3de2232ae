/**
 * Client of Causerie, the shared AI chat.
 *
 * ```js
 * const chat = await connect("http://localhost:8080", token);
 * const session = await chat.createSession("Tea");
 * for await (const piece of await session.send("Which tea at night?")) process.stdout.write(piece);
 * await chat.close();
 * ```
 */

import type { Sampling } from "./frames/client.js";
import type {
  CommandResponse,
  Error as ErrorFrame,
  ErrorCode,
  HistoryPage,
  Invited,
  Message,
  Participant,
  ServerFrame,
  SessionEntry,
} from "./frames/server.js";

export type { ClientFrame, Sampling } from "./frames/client.js";
export type * from "./frames/server.js";
export type { ErrorFrame };

/** A token, or what gives a fresh one whenever it is asked: before each connection, and when the old one is about to expire. */
export type Token = string | (() => string | Promise<string>);

export type State = "connecting" | "open" | "reconnecting" | "closed";

/** The connection has come or gone. */
export interface StateChanged {
  type: "state";
  state: State;
  /** Why, for people, when it has gone. */
  cause?: string;
}

export type Event = ServerFrame | StateChanged;

export interface Options {
  /** Milliseconds between attempts to connect: the first and the longest. 500 and 30,000. */
  backoff?: [first: number, most: number];
  /** For how many milliseconds a request that the server refuses for now, as with `rate_limited`, is tried again. 30,000. */
  patience?: number;
  /** For how many milliseconds the first connection is tried. 10,000. */
  openTimeout?: number;
  /** What opens connections, where it is neither the platform's nor that of the package `ws`. */
  WebSocket?: new (url: string, protocols: string[]) => unknown;
}

/**
 * Connects to a server, `http(s)://HOST:PORT` or the whole `ws(s)://HOST:PORT/ws/chat`.
 * Rejects with {@link ConnectFailed}, or the {@link Refused} that the token met with.
 */
export function connect(url: string, token: Token, options?: Options): Promise<Client>;

/** A connection to a server, which comes back by itself. Made by {@link connect}. */
export class Client {
  private constructor();
  /** The token's `sub`. */
  readonly userId: string;
  /** The name that others see. */
  readonly username: string;
  readonly role: "user" | "admin";
  /** Whether there is a connection at the moment. */
  readonly state: State;
  /** The session that the client is in. */
  readonly session: Session | undefined;
  /**
   * Every frame that answers no request, and every change of the connection, from now on. Ends when the client is closed;
   * throws what ended it otherwise, and {@link Overrun} for who reads too slowly.
   */
  events(): AsyncIterableIterator<Event>;
  /**
   * Creates a session and enters it, leaving the one before. `system` are instructions to the model. If the connection is lost
   * just then it is created once more, and an empty one may stay behind.
   */
  createSession(title?: string, options?: { system?: string }): Promise<Session>;
  /** Enters a session, leaving the one before. What was said before is in its `history`. */
  join(sessionId: string): Promise<Session>;
  /** The sessions that one is a member of or invited to, the most recently active first. */
  sessions(limit?: number): Promise<SessionEntry[]>;
  /** A command such as `/help`. Rejects with {@link Disconnected} if the connection is lost meanwhile. */
  command(text: string): Promise<CommandResponse>;
  /** Asks for the server's time. */
  ping(): Promise<string>;
  /** Gives the server a fresh token of the same user. Not needed with a function for a token, which is asked in time. */
  authenticate(token: string): Promise<void>;
  /** Closes the connection for good. What was acknowledged is stored; an answer under way goes on without us. */
  close(): Promise<void>;
}

/**
 * A session that the client is in, until it leaves it or joins another one. It goes on over lost connections by itself: every
 * message comes once, in order, and the text of an answer goes on at the very byte.
 */
export class Session {
  private constructor();
  readonly id: string;
  readonly title: string;
  /** The user id of its owner. */
  readonly owner: string;
  /** Who is in it now. */
  readonly participants: Participant[];
  /** The `seq` of the last message that was told. */
  readonly seq: number;
  /** Whether it was left, ended or deleted. */
  readonly over: boolean;
  /** The answer under way, whoever asked for it. */
  readonly answer: Answer | undefined;
  /**
   * Every frame of this session from now on, each message once and in order, until the session is over. Called as soon as the
   * session is there, it begins right behind the joining: what is older {@link Session.history} tells. A `session_joined` whose
   * `resumed` is false says that the server was started anew: drop what is shown of an unfinished answer. Messages that were
   * missed follow all the same; only if its `seq` is smaller than that of the last message has the server lost some.
   */
  events(): AsyncIterableIterator<Event>;
  /**
   * Says something; resolves when it is stored, which happens exactly once, however often the connection is lost meanwhile. That
   * holds over restarts of this program too, if it keeps its own `clientId` and sends it again.
   */
  send(text: string, options?: { parent?: string; sampling?: Sampling; clientId?: string }): Promise<Answer>;
  /** Says one's own message differently: the new one stands beside the old one, and is answered. Stored exactly once. */
  edit(messageId: string, text: string, options?: { sampling?: Sampling; clientId?: string }): Promise<Answer>;
  /**
   * Asks for another answer: to a message, in the place of an answer, or to the last message. Rejects with {@link Disconnected}
   * if the connection is lost before the server says that it has it.
   */
  regenerate(messageId?: string, options?: { sampling?: Sampling }): Promise<Answer>;
  /** Stops the answer under way, whoever asked for it. */
  stop(): Promise<void>;
  /** A command such as `/status`, of this session. */
  command(text: string): Promise<CommandResponse>;
  /** A page of messages, by rising `seq`: the newest ones, or those before a `seq`. */
  history(options?: { before?: number; limit?: number }): Promise<HistoryPage>;
  /** Tells the others that one types. It ends by itself after six seconds; not told while there is no connection. */
  typing(isTyping?: boolean): Promise<void>;
  /** Lets somebody in. The owner's to do. */
  invite(username: string): Promise<Invited>;
  /** Gives it another title, and resolves with it as the server keeps it. The owner's to do. */
  rename(title: string): Promise<string>;
  /** Deletes it, with all its messages. The owner's to do. */
  delete(): Promise<void>;
  /** Leaves it; one stays a member and can come back. */
  leave(): Promise<void>;
}

/**
 * An answer: iterate over it for its pieces, or wait for the whole {@link message}. The pieces, put together, are the message's
 * `content`, whatever happens to the connection meanwhile. Each of several iterations gets all of them.
 *
 * Both throw the {@link Refused} that stands in the place of an answer (what came of it is to be dropped), {@link AnswerLost} if
 * the server was started anew in the midst of it, or what ended the client.
 */
export class Answer implements AsyncIterable<string> {
  private constructor();
  /** The id that the message has or will have; undefined until the model begins. */
  readonly id: string | undefined;
  /** The id of the message that is answered. */
  readonly question: string | undefined;
  /** What has come so far. Of an answer that failed it means nothing any more. */
  readonly text: string;
  /** Whether it has ended, well or not. */
  readonly done: boolean;
  [Symbol.asyncIterator](): AsyncGenerator<string, void, undefined>;
  /** Waits for its end: the whole message, with `finish_reason` and `usage`. */
  message(): Promise<Message>;
  /** Asks the model to stop, also one that has not begun yet. The text so far stays: it ends as `stopped`. */
  stop(): Promise<void>;
}

/** Everything that this package throws, but for a TypeError where it is called wrongly. */
export class CauserieError extends Error {}

/** The server sent what the protocol does not know. */
export class ProtocolError extends CauserieError {}

/** The server could not be reached, or refused the handshake. */
export class ConnectFailed extends CauserieError {
  /** The status of HTTP; only Node with the package `ws` can tell. */
  readonly status: number | undefined;
}

/**
 * The connection is gone. Of a request: in the midst of it, and since it must not be sent twice nobody knows whether it arrived.
 * Of a client: for good, since the server does not want it back.
 */
export class Disconnected extends CauserieError {
  /** The code of the WebSocket's close, if there was one. */
  readonly code: number | undefined;
}

/** The client was closed, by its owner. */
export class Closed extends CauserieError {}

/** The session was left, ended or deleted. */
export class SessionOver extends CauserieError {}

/** The server was started anew, or has forgotten the answer: `session.regenerate(answer.question)` asks again. */
export class AnswerLost extends CauserieError {}

/** Who iterates over events is 16,384 of them behind. */
export class Overrun extends CauserieError {}

/** The server said `error`; `code` tells which. */
export class Refused extends CauserieError {
  readonly code: ErrorCode;
  /** Whether the same may succeed later. */
  readonly retryable: boolean;
  /** When, in milliseconds, if the server said so. */
  readonly retryAfterMs: number | undefined;
  readonly frame: ErrorFrame;
}
