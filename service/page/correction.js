// An expert's masks: what the network marked, and what brush and eraser made of it.
import { decode, encode } from "./rle.js";

const STEPS = 50, STEPS_BYTES = 100_000_000; // that can be undone: fewer of a large picture

/** A label map that can be painted: class numbers row by row, 0 where nothing is marked. */
export class Correction {
  constructor(rows, columns, masks) {
    Object.assign(this, { rows, columns, past: [], future: [], saved: null });
    this.labels = new Uint8Array(rows * columns);
    for (const { number, rle } of masks) {
      const mask = decode(rle);
      for (let place = 0; place < mask.length; place++) if (mask[place]) this.labels[place] = number;
    }
    this.answered = this.labels.slice();
  }

  /** Whether anything is other than the network had it. */
  get changed() {
    return !same(this.labels, this.answered);
  }

  /** Whether it was saved as it is. */
  get isSaved() {
    return this.saved !== null && same(this.labels, this.saved);
  }

  /** Begins a change that can be undone as one. */
  begin() {
    this.past.push(this.labels.slice());
    const steps = Math.max(1, Math.min(STEPS, Math.floor(STEPS_BYTES / this.labels.length)));
    if (this.past.length > steps) this.past.shift();
    this.future = [];
  }

  /** Takes back what was begun last, as if it had not been. */
  cancel() {
    this.labels = this.past.pop();
  }

  /** As the network had it. */
  reset() {
    Object.assign(this, { labels: this.answered.slice(), past: [], future: [] });
  }

  /** A round dab of a class, 0 to erase; column and row may be between pixels. */
  dab(column, row, radius, number) {
    const top = Math.max(0, Math.floor(row - radius)), bottom = Math.min(this.rows - 1, Math.ceil(row + radius));
    const left = Math.max(0, Math.floor(column - radius)), right = Math.min(this.columns - 1, Math.ceil(column + radius));
    for (let y = top; y <= bottom; y++) {
      for (let x = left; x <= right; x++) {
        if ((x - column) ** 2 + (y - row) ** 2 <= radius ** 2) this.labels[y * this.columns + x] = number;
      }
    }
  }

  /** Dabs from one point to another, without gaps. */
  stroke([fromColumn, fromRow], [toColumn, toRow], radius, number) {
    const steps = Math.max(1, Math.ceil(Math.hypot(toColumn - fromColumn, toRow - fromRow) / Math.max(1, radius / 2)));
    for (let step = 0; step <= steps; step++) {
      const share = step / steps;
      this.dab(fromColumn + share * (toColumn - fromColumn), fromRow + share * (toRow - fromRow), radius, number);
    }
  }

  /** Makes all that is marked one class. */
  reclassify(number) {
    this.begin();
    this.labels.forEach((label, place) => { if (label) this.labels[place] = number; });
  }

  /** Makes the lesion at a place another class: all that is joined to it, by a side or a corner. */
  fill(column, row, number) {
    const start = Math.round(row) * this.columns + Math.round(column);
    if (!this.labels[start]) return;
    const reached = new Set([start]);
    for (const place of reached) {
      this.labels[place] = number;
      const x = place % this.columns;
      for (const down of [-this.columns, 0, this.columns]) {
        for (const right of [-1, 0, 1]) {
          const next = place + down + right;
          if (x + right >= 0 && x + right < this.columns && this.labels[next]) reached.add(next);
        }
      }
    }
  }

  undo() {
    if (!this.past.length) return;
    this.future.push(this.labels);
    this.labels = this.past.pop();
  }

  redo() {
    if (!this.future.length) return;
    this.past.push(this.labels);
    this.labels = this.future.pop();
  }

  /** The masks of these classes, as answers have them. */
  masks(numbers) {
    return numbers.map((number) => ({
      number,
      rle: encode(this.labels.map((label) => Number(label === number)), this.rows, this.columns),
    }));
  }
}

/** Whether two label maps are the same. */
function same(one, other) {
  return one.every((label, place) => label === other[place]);
}
