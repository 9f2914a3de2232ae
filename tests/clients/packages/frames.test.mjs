// Frames in an order that a server gives seldom: by a socket that says what the test wants, when it wants.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../../../clients/javascript/src/index.js";

/** Sockets that were opened and not looked at yet, and who waits for one. */
let opened = [];
let wanted;

class Scripted {
  readyState = 0;
  #sent = [];
  #wanted;

  constructor() {
    setTimeout(() => {
      this.readyState = 1;
      this.onopen?.();
      opened.push(this);
      wanted?.();
    });
  }

  static async next() {
    while (opened.length === 0) await new Promise((resolve) => (wanted = resolve));
    return opened.shift();
  }

  send(text) {
    this.#sent.push(JSON.parse(text));
    this.#wanted?.();
  }

  close() {
    this.readyState = 3;
    this.onclose?.({ code: 1000, reason: "" });
  }

  /** The next frame of the client. */
  async sent(type) {
    while (this.#sent.length === 0) await new Promise((resolve) => (this.#wanted = resolve));
    const frame = this.#sent.shift();
    assert.equal(frame.type, type);
    return frame;
  }

  /** Frames that come in one piece: nothing runs between them. */
  give(...frames) {
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify({ session_id: "s", ...frame }) });
  }

  breaks() {
    this.readyState = 3;
    this.onclose({ code: 1006, reason: "" });
  }
}

const established = { type: "connection_established", session_id: undefined, user_id: "u", username: "ada", role: "user" };
const joined = (ref, seq, resumed) => ({
  type: "session_joined", ref, session_title: "S", owner: "u", participants: [], epoch: "e", seq, resumed,
});
const said = (seq) => ({ type: "message", seq, id: `m${seq}`, role: "user", user_id: "v", content: `${seq}` });
const answered = (seq, id, parent, content) => ({ type: "message", seq, id, parent, role: "assistant", content });
const begun = (message_id, parent) => ({ type: "typing", role: "assistant", is_typing: true, message_id, parent });
const piece = (message_id, offset, content) => ({ type: "message_delta", message_id, offset, content });

/** A client in a session that has one message, and its socket; what is in `more` comes in one piece with its joining. */
async function inSession(...more) {
  opened = [];
  const connecting = connect("http://localhost", "token", { backoff: [1, 1], WebSocket: Scripted });
  const socket = await Scripted.next();
  socket.give(established);
  const chat = await connecting;
  const joining = chat.join("s");
  socket.give(joined((await socket.sent("join_session")).id, 1, false), ...more);
  const session = await joining;
  return { chat, session, socket };
}

/** The connection breaks, and the next one is back in the session at message `seq`. */
async function back(socket, seq, ...more) {
  socket.breaks();
  const next = await Scripted.next();
  next.give(established);
  const { id, since } = await next.sent("join_session");
  next.give(joined(id, seq, true), ...more);
  return { socket: next, since };
}

/** The `seq` of the next messages. */
async function told(events, count) {
  const seen = [];
  for await (const event of events) {
    if (event.type === "message") seen.push(event.seq);
    if (seen.length === count) return seen;
  }
}

const ask = async (session, socket, ...first) => {
  const asking = session.send("?");
  const { id } = await socket.sent("chat_message");
  socket.give(...first, { type: "ack", ref: id, message_id: "q", seq: 2 });
  return asking;
};

test("what comes in one piece with the joining is told to who listens at once", { timeout: 20_000 }, async () => {
  const { chat, session } = await inSession(said(2), said(3));
  assert.deepEqual(await told(session.events(), 2), [2, 3]);
  await chat.close();
});

test("a gap right behind a repaired gap is repaired", { timeout: 20_000 }, async () => {
  const { chat, session, socket } = await inSession();
  const events = session.events();
  socket.give(said(3));
  let again = await socket.sent("join_session");
  assert.deepEqual(again.since, { epoch: "e", seq: 1 });
  socket.give(joined(again.id, 3, true), said(3));
  again = await socket.sent("join_session");
  socket.give(joined(again.id, 3, true), said(2), said(3));
  assert.deepEqual(await told(events, 2), [2, 3]);
  await chat.close();
});

test("a gap is repaired while that of a lost connection is waited for", { timeout: 20_000 }, async () => {
  const { chat, session, socket } = await inSession();
  const events = session.events();
  socket.give(said(3));
  const again = await socket.sent("join_session");
  // The next attempt would be a second later, on a connection that is gone by then.
  socket.give(joined(again.id, 3, true), said(3));
  const next = await back(socket, 3, said(3));
  const last = await next.socket.sent("join_session");
  next.socket.give(joined(last.id, 3, true), said(2), said(3));
  assert.deepEqual(await told(events, 2), [2, 3]);
  await chat.close();
});

test("an answer ends for who asked, though only its pieces were told and another one began", { timeout: 20_000 }, async () => {
  const { chat, session, socket } = await inSession();
  const answer = await ask(session, socket);
  const end = [answered(3, "a", "q", "Yes."), said(4)];
  const { socket: next } = await back(socket, 2, said(2), piece("a", 0, "Ye"), begun("b", "m4"), ...end);
  assert.equal((await answer.message()).content, "Yes.");
  assert.equal(answer.text, "Yes.");
  next.give(piece("b", 0, "No"), answered(5, "b", "m4", "No."));
  assert.equal(session.answer, undefined);
  await chat.close();
});

test("a question that is acknowledged late has the answer that began before", { timeout: 20_000 }, async () => {
  const { chat, session, socket } = await inSession();
  const answer = await ask(session, socket, said(2), begun("a", "q"), piece("a", 0, "Ye"), begun("b", "m1"));
  assert.equal(answer.text, "Ye");
  socket.give(piece("a", 2, "s"), answered(3, "a", "q", "Yes."));
  assert.equal((await answer.message()).content, "Yes.");
  await chat.close();
});

test("a failure is that of the answer which it names", { timeout: 20_000 }, async () => {
  const { chat, session, socket } = await inSession();
  const answer = await ask(session, socket, said(2), begun("a", "q"), piece("a", 0, "Ye"));
  socket.give(begun("b", "m1"));
  const other = session.answer;
  socket.give({ type: "error", code: "generation_failed", message: "no", retryable: true, message_id: "a" });
  await assert.rejects(answer.message(), { code: "generation_failed" });
  assert.equal(other.done, false);
  socket.give({ type: "typing", role: "assistant", is_typing: false, message_id: "b" });
  await assert.rejects(other.message(), { name: "AnswerLost" });
  await chat.close();
});
