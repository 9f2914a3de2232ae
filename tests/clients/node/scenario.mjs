// Causerie's protocol as the WebSocket API of the WHATWG standard speaks it: browsers, Node's own, and `ws`, whose
// sockets have the same events. Nothing here is of Node, so that it runs in a page too.

/** How long to wait for what must happen, in ms; far more than it takes. */
const WITHIN = 60_000;

export function assert(fact, what) {
  if (!fact) throw new Error(typeof what === 'string' ? what : JSON.stringify(what));
}

export function equal(got, wanted) {
  assert(JSON.stringify(got) === JSON.stringify(wanted), `got ${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`);
}

const utf8 = new TextEncoder();

/** A connection, its frames in the order in which they came. */
export class Chat {
  constructor(socket) {
    this.socket = socket;
    this.frames = [];
    this.waiting = [];
    this.closed = new Promise((resolve) => {
      socket.addEventListener('close', ({ code, reason, wasClean }) => resolve({ code, reason, wasClean }));
    });
    socket.addEventListener('message', ({ data }) => {
      assert(typeof data === 'string', 'all frames are text');
      const waiting = this.waiting.shift();
      if (waiting) waiting(JSON.parse(data));
      else this.frames.push(JSON.parse(data));
    });
  }

  send(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  receive() {
    if (this.frames.length) return this.frames.shift();
    const frame = new Promise((resolve) => this.waiting.push(resolve));
    const ended = this.closed.then((event) => {
      throw new Error(`closed instead of a frame: ${JSON.stringify(event)}`);
    });
    return within(Promise.race([frame, ended]), 'a frame');
  }

  /** The next frame that is wanted; others are passed over. */
  async where(wanted) {
    for (;;) {
      const frame = await this.receive();
      if (wanted(frame)) return frame;
    }
  }

  expect(type) {
    return this.where((frame) => frame.type === type);
  }

  ends() {
    return within(this.closed, 'the end');
  }

  async close(code, reason) {
    this.socket.close(code, reason);
    return this.ends();
  }
}

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${WITHIN} ms`)), WITHIN);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** An assistant's message put together from its deltas: no byte missing, none twice. */
class Answer {
  text = '';

  take(delta) {
    this.id ??= delta.message_id;
    equal([delta.message_id, delta.offset], [this.id, this.bytes]);
    this.text += delta.content;
  }

  get bytes() {
    return utf8.encode(this.text).length;
  }

  /** Reads so many deltas, or to the end; the whole message then. */
  async read(chat, deltas = Infinity) {
    while (deltas > 0) {
      const frame = await chat.receive();
      if (frame.type === 'message_delta') {
        this.take(frame);
        deltas -= 1;
      } else if (frame.type === 'message' && frame.role === 'assistant') {
        equal(frame.content, this.text);
        return frame;
      }
    }
    return null;
  }
}

/**
 * All parts that every implementation has, by name. `open(url, protocols)` makes a socket; `breakOff(socket)` ends one
 * as roughly as the implementation can.
 */
export function scenario(url, token, open, breakOff) {
  const connect = async () => {
    const chat = new Chat(open(url, ['causerie.v1', `bearer.${token}`]));
    chat.greeting = await chat.expect('connection_established');
    return chat;
  };

  return {
    connect,
    parts: {
      async 'a token in the subprotocol, in the query, and none'() {
        const chat = await connect();
        equal([chat.socket.protocol, chat.socket.extensions], ['causerie.v1', '']);
        assert(chat.greeting.message.startsWith('Connected as '), chat.greeting);
        await chat.close();
        const query = new Chat(open(`${url}?token=${token}`));
        await query.expect('connection_established');
        equal(query.socket.protocol, '');
        await query.close();
        const nobody = new Chat(open(url, ['causerie.v1']));
        equal((await nobody.receive()).code, 'authentication_failed');
        const { code, reason, wasClean } = await nobody.ends();
        assert(code === 1008 && reason.length > 0 && wasClean, `${code} ${reason} ${wasClean}`);
      },

      async 'wrong frames'() {
        const chat = await connect();
        chat.send({ type: 'ping', id: 'grün' });
        equal((await chat.expect('pong')).ref, 'grün');
        chat.socket.send('{');
        equal((await chat.expect('error')).code, 'invalid_json');
        chat.socket.send(new Uint8Array([123, 125]));
        equal((await chat.expect('error')).code, 'binary_frame');
        chat.socket.send('x'.repeat(300_000));
        equal((await chat.expect('error')).code, 'frame_too_large');
        equal((await chat.ends()).code, 1009);
      },

      async 'close codes'() {
        for (const [code, reason] of [[1000, 'done'], [3000, ''], [4001, 'grün']]) {
          const chat = await connect();
          equal(await chat.close(code, reason), { code, reason, wasClean: true });
        }
        const chat = await connect();
        equal((await chat.close()).wasClean, true);
      },

      async 'a conversation'() {
        const chat = await connect();
        chat.send({ type: 'create_session', title: 'Node', id: 1 });
        const joined = await chat.expect('session_joined');
        equal([joined.ref, joined.session_title], [1, 'Node']);
        chat.send({ type: 'chat_message', message: 'Name three colours.', client_id: 'a', sampling: { max_tokens: 40 } });
        const kinds = [];
        const answer = new Answer();
        while (kinds.at(-1) !== 'typing false') {
          const frame = await chat.receive();
          if (frame.type === 'message_delta') answer.take(frame);
          if (frame.type === 'message') kinds.push(`message ${frame.role}`);
          if (frame.type === 'message' && frame.role === 'assistant') equal(frame.content, answer.text);
          if (frame.type === 'typing') kinds.push(`typing ${frame.is_typing}`);
        }
        equal(kinds, ['message user', 'typing true', 'message assistant', 'typing false']);

        chat.send({ type: 'chat_message', message: 'Write a long story.', client_id: 'b', sampling: { max_tokens: 2000 } });
        const stopped = new Answer();
        await stopped.read(chat, 3);
        chat.send({ type: 'stop_generation' });
        equal((await stopped.read(chat)).finish_reason, 'stopped');
        await chat.close();
      },

      async 'an answer survives broken connections'() {
        const watcher = await connect();
        let chat = await connect();
        chat.send({ type: 'create_session', title: 'Resumed' });
        const { session_id, epoch } = await chat.expect('session_joined');
        watcher.send({ type: 'join_session', session_id });
        await watcher.expect('session_joined');
        const sampling = { max_tokens: 120, temperature: 0 };
        chat.send({ type: 'chat_message', message: 'Tell me about the sea, at length.', sampling });
        const { seq } = await chat.where((frame) => frame.type === 'message' && frame.role === 'user');
        const answer = new Answer();
        for (const deltas of [5, 7, 1]) {
          await answer.read(chat, deltas);
          breakOff(chat.socket);
          chat = await connect();
          const since = { epoch, seq, message_id: answer.id, offset: answer.bytes };
          chat.send({ type: 'join_session', session_id, since });
          equal((await chat.expect('session_joined')).resumed, true);
        }
        const whole = await answer.read(chat);
        const watched = new Answer();
        equal(await watched.read(watcher), whole);
        equal(watched.text, answer.text);

        chat.send({ type: 'join_session', session_id, since: { epoch: 'another', seq: 1 } });
        equal((await chat.expect('session_joined')).resumed, false);
        chat.send({ type: 'history' });
        const page = await chat.expect('history_page');
        equal(page.messages.map((message) => message.role), ['user', 'assistant']);
        await Promise.all([chat.close(), watcher.close()]);
      },
    },
  };
}

/** To be called when the server is about to be stopped: its last words. */
export async function drained(chat) {
  equal((await chat.expect('notice')).code, 'server_draining');
  const { code, reason } = await chat.ends();
  equal([code, reason], [1001, 'The server is stopping']);
}
