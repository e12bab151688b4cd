// A picture with what was marked in it, to be moved, enlarged and windowed. Two of them can be moved as one.
import { Brush } from "./brush.js";
import { decode } from "./rle.js";

const CLOSE = 3; // from this size on, pixels are shown as squares
const SMALLEST = 0.1, LARGEST = 32;

/** Where all pictures are moved to. Whoever shows one is told of changes. */
export class View extends EventTarget {
  scale = 1;
  left = 0;
  top = 0;

  set(scale, left, top) {
    Object.assign(this, { scale, left, top });
    this.dispatchEvent(new Event("change"));
  }

  /** Enlarges by a factor; the point at x, y stays where it is. */
  enlarge(factor, x, y) {
    const scale = Math.min(LARGEST, Math.max(SMALLEST, this.scale * factor));
    const by = scale / this.scale;
    this.set(scale, x - (x - this.left) * by, y - (y - this.top) * by);
  }
}

/** One picture. `element` is a figure for the page. */
export class Viewer {
  constructor(view, help) {
    this.view = view;
    this.element = document.createElement("figure");
    this.element.className = "viewer";
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", help);
    this.layers = document.createElement("div");
    this.layers.className = "layers";
    this.picture = document.createElement("canvas");
    this.marks = document.createElement("canvas");
    this.caption = document.createElement("figcaption");
    this.layers.append(this.picture, this.marks);
    this.brush = new Brush(view);
    this.element.append(this.layers, this.brush.element, this.caption);
    this.left = new AbortController();
    view.addEventListener("change", () => this.#place(), { signal: this.left.signal });
    this.#listen();
  }

  /** Shows a picture (an image that has loaded) with its marked areas. */
  show(image, caption) {
    for (const canvas of [this.picture, this.marks]) {
      canvas.width = image.naturalWidth;
      canvas.height = image.naturalHeight;
    }
    this.picture.getContext("2d").drawImage(image, 0, 0);
    this.caption.textContent = caption;
    this.#place();
  }

  /** Draws the areas of the classes: [{rle, colour: [r, g, b], pattern}], by how they are to be shown. */
  mark(areas, { how, opacity, patterns }) {
    const context = this.marks.getContext("2d");
    const { width, height } = this.marks;
    const drawn = context.createImageData(width, height);
    const thick = Math.max(1, Math.round(Math.max(width, height) / 500));
    if (how === "mask" || how === "outline") {
      for (const { rle, colour, pattern } of areas) {
        if (rle.size[0] === height && rle.size[1] === width) {
          paint(drawn, decode(rle), colour, { fill: how === "mask" ? opacity : 0, pattern: patterns ? pattern : 0, thick });
        }
      }
    }
    context.putImageData(drawn, 0, 0);
  }

  /** Lays the probabilities, a grey picture on the network's grid, over the part of the picture that was analysed. */
  probability(image, [left, top, columns, rows], opacity) {
    const small = document.createElement("canvas");
    small.width = image.naturalWidth;
    small.height = image.naturalHeight;
    const context = small.getContext("2d");
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, small.width, small.height);
    for (let place = 0; place < pixels.data.length; place += 4) {
      const share = pixels.data[place] / 255;
      // From blue through white to red: told apart by those who do not see red and green.
      pixels.data.set([255 * Math.min(1, 2 * share), 255 * (1 - Math.abs(2 * share - 1)), 255 * Math.min(1, 2 - 2 * share)], place);
      pixels.data[place + 3] = 255 * Math.min(1, 4 * share) * Math.max(0.2, opacity);
    }
    context.putImageData(pixels, 0, 0);
    const marks = this.marks.getContext("2d");
    marks.clearRect(0, 0, this.marks.width, this.marks.height);
    marks.drawImage(small, left, top, columns, rows);
  }

  /** Is moved no more. Whoever takes it from the page says so, or the view would keep it, with its pictures. */
  leave() {
    this.left.abort();
  }

  /** Lets pointer and keys paint in place of moving; null to move again. */
  paintWith(painter) {
    this.brush.use(painter, [this.picture.width, this.picture.height]);
    this.element.classList.toggle("painting", Boolean(painter));
  }

  /** Where on the picture a pointer is. */
  #point(event) {
    const box = this.element.getBoundingClientRect();
    const { scale, left, top } = this.view;
    return [(event.clientX - box.left - left) / scale - 0.5, (event.clientY - box.top - top) / scale - 0.5];
  }

  /** Brightness and contrast, 1 as stored. */
  window(brightness, contrast) {
    this.picture.style.filter = `brightness(${brightness}) contrast(${contrast})`;
  }

  /** The whole picture, as large as there is room. */
  fit() {
    const { clientWidth, clientHeight } = this.element;
    const scale = Math.min(clientWidth / this.picture.width, clientHeight / this.picture.height) || 1;
    this.view.set(scale, (clientWidth - scale * this.picture.width) / 2, (clientHeight - scale * this.picture.height) / 2);
  }

  #place() {
    const { scale, left, top } = this.view;
    this.layers.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
    this.element.classList.toggle("close", scale >= CLOSE);
    this.brush.place();
  }

  /** Moves the picture so that the brush, which keys have led out of sight, is in the middle. */
  #follow() {
    const { clientWidth, clientHeight } = this.element;
    const { scale, left, top } = this.view;
    const [x, y] = [left + this.brush.at[0] * scale, top + this.brush.at[1] * scale];
    if (x < 0 || y < 0 || x > clientWidth || y > clientHeight) this.view.set(scale, left + clientWidth / 2 - x, top + clientHeight / 2 - y);
  }

  #listen() {
    const pointers = new Map();
    this.element.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = this.element.getBoundingClientRect();
      this.view.enlarge(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    this.element.addEventListener("pointerdown", (event) => {
      this.element.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, event);
      this.element.classList.add("moving");
      if (!this.brush.painter) return;
      if (pointers.size > 1) {
        this.brush.cancel(); // two fingers move the picture
      } else {
        this.brush.lift();
        this.brush.moveTo(this.#point(event));
        this.brush.press();
      }
    });
    this.element.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before && this.brush.painter && !this.brush.down) this.brush.moveTo(this.#point(event));
      if (!before) return;
      const others = [...pointers.values()].filter((other) => other.pointerId !== event.pointerId);
      pointers.set(event.pointerId, event);
      if (!others.length && this.brush.painter) {
        this.brush.moveTo(this.#point(event));
        return;
      }
      if (!others.length) {
        this.view.set(this.view.scale, this.view.left + event.clientX - before.clientX, this.view.top + event.clientY - before.clientY);
        return;
      }
      const box = this.element.getBoundingClientRect();
      const apart = (one) => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY) || 1;
      const middle = [(event.clientX + others[0].clientX) / 2 - box.left, (event.clientY + others[0].clientY) / 2 - box.top];
      this.view.enlarge(apart(event) / apart(before), ...middle);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      this.element.addEventListener(end, (event) => {
        if (pointers.delete(event.pointerId)) this.brush.lift();
        this.element.classList.toggle("moving", pointers.size > 0);
      });
    }
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.element.addEventListener("blur", () => this.brush.lift());
  }

  #key(event) {
    const step = 40;
    const { clientWidth, clientHeight } = this.element;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (this.brush.key(event)) {
      this.#follow();
    } else if (moves[event.key]) {
      const [right, down] = moves[event.key];
      this.view.set(this.view.scale, this.view.left + right, this.view.top + down);
    } else if (event.key === "+" || event.key === "-") {
      this.view.enlarge(event.key === "+" ? 1.25 : 0.8, clientWidth / 2, clientHeight / 2);
    } else if (event.key === "0") {
      this.fit();
    } else {
      return;
    }
    event.preventDefault();
  }
}

/** Paints a mask into ImageData: filled, with stripes or dots, and outlined. */
export function paint(drawn, mask, colour, { fill, pattern, thick }) {
  const { width, height } = drawn;
  // Four bytes at a time: a picture of a megapixel has a million of them.
  const pixels = new Uint32Array(drawn.data.buffer);
  const [red, green, blue] = colour;
  const shade = (strength) => ((Math.round(255 * strength) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  const inside = (column, row) => column >= 0 && row >= 0 && column < width && row < height && mask[row * width + column];
  for (let row = 0, place = 0; row < height; row++) {
    for (let column = 0; column < width; column++, place++) {
      if (!mask[place]) continue;
      const edge = !(inside(column - thick, row) && inside(column + thick, row) && inside(column, row - thick) && inside(column, row + thick));
      const patterned = pattern && PATTERNS[pattern](column, row, 4 * thick);
      const strength = edge ? 1 : fill && (patterned ? Math.min(1, fill + 0.35) : fill);
      if (strength) pixels[place] = shade(strength);
    }
  }
}

const PATTERNS = {
  1: (column, row, size) => column % (2 * size) < size / 2 && row % (2 * size) < size / 2, // dots
  2: (column, row, size) => (column + row) % (2 * size) < size / 2, // stripes
};
