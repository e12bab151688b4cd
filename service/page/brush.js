// The brush over a picture: where it is, how large, and whether it is down. A pointer or the keys lead it.

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** A round brush. What it does is told to a painter, {begin, stroke, cancel, radius}; without one it is not there. */
export class Brush {
  constructor(view) {
    Object.assign(this, { view, painter: null, at: null, down: false });
    this.element = document.createElement("div");
    this.element.className = "brush";
    this.element.hidden = true;
  }

  /** Paints with this painter from now on; [columns, rows] are of the picture, in whose middle the brush begins. */
  use(painter, [columns, rows]) {
    this.lift();
    this.painter = painter;
    this.size = [columns, rows];
    this.at ??= [columns / 2, rows / 2];
    this.place();
  }

  press() {
    this.down = true;
    this.painter.begin();
    this.painter.stroke(this.at, this.at);
    this.place();
  }

  /** To a [column, row], which may be between pixels. */
  moveTo(point) {
    if (this.down) this.painter.stroke(this.at, point);
    this.at = point;
    this.place();
  }

  lift() {
    this.down = false;
    this.place();
  }

  /** Lifts it, and takes back what it painted since it was pressed. */
  cancel() {
    if (this.down) this.painter.cancel();
    this.lift();
  }

  /** Arrows lead it, with shift pixel by pixel; space presses and lifts. Whether the key was for it. */
  key({ key, shiftKey }) {
    if (!this.painter) return false;
    const step = shiftKey ? 1 : Math.max(1, Math.round(this.painter.radius() / 2));
    if (MOVES[key]) this.moveTo(MOVES[key].map((way, axis) => Math.min(this.size[axis] - 1, Math.max(0, this.at[axis] + step * way))));
    else if (key === " " && this.down) this.lift();
    else if (key === " ") this.press();
    else if (key === "Escape") this.cancel();
    else return false;
    return true;
  }

  /** Draws it where the view has it now. */
  place() {
    this.element.hidden = !this.painter;
    if (!this.painter) return;
    const { scale, left, top } = this.view;
    const radius = Math.max(2, this.painter.radius() * scale);
    const [x, y] = [left + (this.at[0] + 0.5) * scale, top + (this.at[1] + 0.5) * scale];
    Object.assign(this.element.style, { left: `${x - radius}px`, top: `${y - radius}px`, width: `${2 * radius}px`, height: `${2 * radius}px` });
    this.element.classList.toggle("down", this.down);
  }
}
