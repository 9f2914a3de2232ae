// Pauses, and being told of news.

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Doubling delays in milliseconds with jitter, so that those who lost one server do not come back in one moment. */
export class Backoff {
  #first;
  #most;
  #tries = 0;

  constructor(first, most) {
    this.#first = first;
    this.#most = most;
  }

  /** The next delay: between half of the step and the whole of it, and that much more than the server asked for. */
  next(atLeast = 0) {
    const step = Math.min(this.#most, this.#first * 2 ** Math.min(this.#tries, 63));
    this.#tries += 1;
    return atLeast + step * (0.5 + Math.random() / 2);
  }

  reset() {
    this.#tries = 0;
  }
}

/** Wakes everybody who waits, as often as there is something new. */
export class News {
  #tell;
  #told;

  constructor() {
    this.#renew();
  }

  #renew() {
    this.#told = new Promise((resolve) => {
      this.#tell = resolve;
    });
  }

  wait() {
    return this.#told;
  }

  wake() {
    this.#tell();
    this.#renew();
  }
}
