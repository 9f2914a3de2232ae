// Small plots of the last minutes, drawn as SVG.

const NS = 'http://www.w3.org/2000/svg';

/** Points that are kept: five minutes of a look every two seconds. */
const KEPT = 150;

/** One curve: `title`, and `format`, which makes text of a value. */
export class Plot {
  #values = [];
  #format;
  #value = document.createElement('b');
  #svg = document.createElementNS(NS, 'svg');
  #area = document.createElementNS(NS, 'path');
  #curve = document.createElementNS(NS, 'path');

  constructor(place, title, format) {
    this.#format = format;
    const figure = document.createElement('figure');
    const caption = document.createElement('figcaption');
    caption.append(title, this.#value);
    this.#svg.setAttribute('viewBox', `0 0 ${KEPT - 1} 100`);
    this.#svg.setAttribute('preserveAspectRatio', 'none');
    this.#svg.setAttribute('role', 'img');
    this.title = title;
    this.#area.setAttribute('class', 'area');
    this.#curve.setAttribute('class', 'curve');
    this.#svg.append(this.#area, this.#curve);
    figure.append(caption, this.#svg);
    place.append(figure);
  }

  /** One more value, the newest. */
  push(value) {
    this.#values.push(Number.isFinite(value) ? value : 0);
    if (this.#values.length > KEPT) this.#values.shift();
    const most = Math.max(...this.#values, 1e-9);
    const x = (i) => KEPT - this.#values.length + i;
    const points = this.#values.map((one, i) => `${x(i)} ${(100 - (95 * one) / most).toFixed(1)}`).join('L');
    this.#curve.setAttribute('d', `M${points}`);
    this.#area.setAttribute('d', `M${x(0)} 100L${points}L${KEPT - 1} 100Z`);
    const now = this.#format(this.#values.at(-1));
    this.#value.textContent = now;
    this.#svg.setAttribute('aria-label', `${this.title}: now ${now}, at most ${this.#format(most)}`);
  }
}
