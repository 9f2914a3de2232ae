// How a conversation branches, as plain functions of its messages: what hangs below what, and which path is shown.
//
// A node is a message or an answer that is being written: `id`, `role`, `parent` (undefined for a first message) and
// `seq`, which is Infinity for what is not stored yet.

/** The messages that are here, as a tree. Parents that are not loaded are known by their id alone. */
export class Tree {
  #nodes = new Map();
  #answers = new Map();
  #above = new Map();
  #below = new Map();

  constructor(nodes) {
    const sorted = [...nodes].sort((a, b) => a.seq - b.seq);
    for (const node of sorted) {
      this.#nodes.set(node.id, node);
      if (node.role === 'assistant') add(this.#answers, node.parent, node);
    }
    for (const node of sorted) {
      const above = this.#between(node)?.id ?? node.parent ?? null;
      this.#above.set(node.id, above);
      add(this.#below, above, node.id);
    }
  }

  /**
   * The answer that stands between a person's message and another person's that it follows. It came while that one was
   * being answered, or is a version of one that did: then its `parent` is the question, not the answer that nobody had
   * yet. The server puts the same one between them for the model: of the answers stored before any answer to the later
   * message, the first that was stored after it, or else the last before it.
   */
  #between(node) {
    if (node.role !== 'user' || this.#nodes.get(node.parent)?.role !== 'user') return undefined;
    const [own] = this.#answers.get(node.id) ?? [];
    const answers = (this.#answers.get(node.parent) ?? []).filter((answer) => !own || answer.seq < own.seq);
    return answers.find((answer) => answer.seq > node.seq) ?? answers.at(-1);
  }

  has(id) {
    return this.#nodes.has(id);
  }

  /** What stands before a message: an id, maybe of a message that is not loaded, or null. */
  above(id) {
    return this.#above.get(id) ?? null;
  }

  /** The ids of all versions of a message, itself among them, in the order they came. */
  versions(id) {
    return this.#below.get(this.above(id)) ?? [id];
  }

  /** The ids from the first message that is here, through `id`, and on along the choices, the newest where there is none. */
  path(id, chosen) {
    // A Set keeps the order, and ends a circle that no server should send.
    const up = new Set();
    for (let at = id; this.has(at) && !up.has(at); at = this.above(at)) up.add(at);
    const path = new Set([...up].reverse());
    for (let at = id; ; path.add(at)) {
      const below = this.#below.get(at);
      if (!below) return [...path];
      at = below.includes(chosen.get(at)) ? chosen.get(at) : below.at(-1);
      if (path.has(at)) return [...path];
    }
  }
}

function add(map, key, value) {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}
