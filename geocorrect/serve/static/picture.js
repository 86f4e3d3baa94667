// A picture that is zoomed and moved, with marks on it. Pixels are those of the file; (0, 0) is the middle of the first.

const MIN_STEP = 0.25; // of the keyboard's cursor, in pixels of the picture
const TOUCH = 14; // how near a mark is grabbed, in pixels of the screen

/**
 * Events: "place" {u, v} (a click or Enter), "move" {mark, u, v, done}, "pick" {mark}.
 * Marks are {id, u, v, draw(context, x, y, scale)}; lines are {from, to, colour, width, dash}, points as [u, v].
 */
export class PictureView extends EventTarget {
  constructor(container, { label, editable = false }) {
    super();
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-label", label);
    container.append(this.canvas);
    this.editable = editable;
    this.marks = [];
    this.lines = [];
    this.image = null;
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.cursor = null;
    this.pointers = new Map();
    new ResizeObserver(() => this.resized()).observe(container);
    for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel", "wheel", "keydown", "dblclick"]) {
      this.canvas.addEventListener(name, (event) => this[name](event), { passive: false });
    }
  }

  /** Load a picture; resolves when it is shown, rejects with the server's words. */
  async show(url) {
    this.url = url;
    const image = new Image();
    image.style.imageOrientation = "none";
    image.src = url;
    try {
      await image.decode();
    } catch {
      if (this.url === url) { this.image = null; this.draw(); }
      throw new Error((await fetch(url).then((answer) => answer.json()).catch(() => ({}))).error || "the picture cannot be shown");
    }
    if (this.url !== url) return;
    this.image = image;
    this.cursor = null;
    this.fit();
  }

  /** A grey ground of this size, where there is no picture file. */
  showBlank(width, height) {
    this.url = null;
    this.image = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
    this.image.getContext("2d").fillStyle = "#5a6570";
    this.image.getContext("2d").fillRect(0, 0, 1, 1);
    this.image.naturalWidth = width;
    this.image.naturalHeight = height;
    this.cursor = null;
    this.fit();
  }

  clear() {
    this.url = this.image = null;
    this.marks = this.lines = [];
    this.draw();
  }

  fit() {
    if (!this.image) return;
    const box = this.canvas.getBoundingClientRect();
    this.scale = Math.min(box.width / this.image.naturalWidth, box.height / this.image.naturalHeight) || 1;
    this.left = (box.width - this.image.naturalWidth * this.scale) / 2;
    this.top = (box.height - this.image.naturalHeight * this.scale) / 2;
    this.fitted = true;
    this.draw();
  }

  /** Bring a pixel into the middle, at a scale in screen pixels per pixel. */
  centre(u, v, scale = Math.max(this.scale, 1)) {
    const box = this.canvas.getBoundingClientRect();
    this.scale = scale;
    this.left = box.width / 2 - (u + 0.5) * scale;
    this.top = box.height / 2 - (v + 0.5) * scale;
    this.fitted = false;
    this.draw();
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const scale = Math.min(32, Math.max(0.02, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.draw();
  }

  onScreen(u, v) { return [this.left + (u + 0.5) * this.scale, this.top + (v + 0.5) * this.scale]; }

  /** The pixel under a place of the screen, to a quarter of a pixel or of what the screen resolves. */
  pixelAt(x, y) {
    const round = (value) => Math.round(value * 4) / 4;
    return [round((x - this.left) / this.scale - 0.5), round((y - this.top) / this.scale - 0.5)];
  }

  resized() {
    const box = this.canvas.parentElement.getBoundingClientRect();
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(box.width * this.ratio);
    this.canvas.height = Math.round(box.height * this.ratio);
    if (this.fitted) this.fit(); else this.draw();
  }

  draw() {
    const context = this.canvas.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.image) return;
    context.imageSmoothingEnabled = this.scale < 3;
    const { naturalWidth, naturalHeight } = this.image;
    context.drawImage(this.image, this.left, this.top, naturalWidth * this.scale, naturalHeight * this.scale);
    for (const line of this.lines) {
      context.beginPath();
      context.strokeStyle = line.colour;
      context.lineWidth = line.width || 1.5;
      context.setLineDash(line.dash || []);
      context.moveTo(...this.onScreen(...line.from));
      context.lineTo(...this.onScreen(...line.to));
      context.stroke();
    }
    context.setLineDash([]);
    for (const mark of this.marks) mark.draw(context, ...this.onScreen(mark.u, mark.v), this.scale);
    if (this.cursor && this.editable && document.activeElement === this.canvas) {
      const [x, y] = this.onScreen(...this.cursor);
      for (const [colour, width] of [["#000", 3], ["#fff", 1]]) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.beginPath();
        for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          context.moveTo(x + 4 * dx, y + 4 * dy);
          context.lineTo(x + 16 * dx, y + 16 * dy);
        }
        context.stroke();
      }
    }
  }

  nearest(x, y) {
    let best = null, distance = TOUCH;
    for (const mark of this.marks) {
      const [mx, my] = this.onScreen(mark.u, mark.v);
      const d = Math.hypot(mx - x, my - y);
      if (mark.id !== undefined && d < distance) [best, distance] = [mark, d];
    }
    return best;
  }

  tell(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }

  pointerdown(event) {
    if (!this.image) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.moved = this.pointers.size > 1;
    this.grabbed = this.editable && this.pointers.size === 1 ? this.nearest(event.offsetX, event.offsetY) : null;
    this.start = [event.offsetX, event.offsetY];
  }

  pointermove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const here = [event.offsetX, event.offsetY];
    if (Math.hypot(here[0] - this.start[0], here[1] - this.start[1]) > 3) this.moved = true;
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const spread = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      this.zoom(spread(here) / Math.max(spread(before), 1), (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
    } else if (this.moved && this.grabbed) {
      [this.grabbed.u, this.grabbed.v] = this.pixelAt(...here);
      this.tell("move", { mark: this.grabbed, u: this.grabbed.u, v: this.grabbed.v, done: false });
      this.draw();
    } else if (this.moved) {
      this.left += here[0] - before[0];
      this.top += here[1] - before[1];
      this.fitted = false;
      this.draw();
    }
    this.pointers.set(event.pointerId, here);
  }

  pointerup(event) {
    if (!this.pointers.delete(event.pointerId) || this.pointers.size) return;
    const [u, v] = this.pixelAt(event.offsetX, event.offsetY);
    if (this.moved && this.grabbed) this.tell("move", { mark: this.grabbed, u: this.grabbed.u, v: this.grabbed.v, done: true });
    else if (!this.moved && this.grabbed) this.tell("pick", { mark: this.grabbed });
    else if (!this.moved && this.editable) this.tell("place", { u, v });
    this.cursor = [u, v];
    this.grabbed = null;
  }

  pointercancel(event) { this.pointers.delete(event.pointerId); this.grabbed = null; }

  dblclick(event) { event.preventDefault(); if (!this.editable) this.fit(); }

  wheel(event) {
    event.preventDefault();
    if (this.image) this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), event.offsetX, event.offsetY);
  }

  keydown(event) {
    if (!this.image || event.ctrlKey || event.altKey || event.metaKey) return;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    if (step) {
      const size = event.shiftKey ? MIN_STEP : Math.max(1, Math.round(8 / this.scale));
      const [u, v] = this.cursor || this.pixelAt(this.canvas.clientWidth / 2, this.canvas.clientHeight / 2);
      this.cursor = [u + step[0] * size, v + step[1] * size];
      const [x, y] = this.onScreen(...this.cursor);
      if (x < 20 || y < 20 || x > this.canvas.clientWidth - 20 || y > this.canvas.clientHeight - 20) this.centre(...this.cursor, this.scale);
      else this.draw();
    } else if (event.key === "+" || event.key === "=" || event.key === "-") {
      const factor = event.key === "-" ? 1 / 1.5 : 1.5;
      this.zoom(factor, ...(this.cursor ? this.onScreen(...this.cursor) : []));
    } else if (event.key === "0") this.fit();
    else if (event.key === "Enter" && this.editable && this.cursor) this.tell("place", { u: this.cursor[0], v: this.cursor[1] });
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

/** A ring with a dark edge, so that it is seen on any ground. */
export function ring(colour, radius = 4, filled = false) {
  return (context, x, y) => {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.strokeStyle = "#000a";
    context.lineWidth = 3.5;
    context.stroke();
    context.strokeStyle = colour;
    context.lineWidth = 1.8;
    context.stroke();
    if (filled) { context.fillStyle = colour; context.fill(); }
  };
}

/** A cross with a dark edge. */
export function cross(colour, radius = 4) {
  return (context, x, y) => {
    for (const [stroke, width] of [["#000a", 3.5], [colour, 1.8]]) {
      context.beginPath();
      context.strokeStyle = stroke;
      context.lineWidth = width;
      context.moveTo(x - radius, y - radius);
      context.lineTo(x + radius, y + radius);
      context.moveTo(x - radius, y + radius);
      context.lineTo(x + radius, y - radius);
      context.stroke();
    }
  };
}

/** Words beside a mark. */
export const label = (text, tint) => (context, x, y) => {
  context.font = "12px system-ui, sans-serif";
  context.lineWidth = 3;
  context.strokeStyle = "#000c";
  context.strokeText(text, x + 9, y - 7);
  context.fillStyle = tint;
  context.fillText(text, x + 9, y - 7);
};

/** A square with a dark edge. */
export function square(tint, filled) {
  return (context, x, y) => {
    for (const [stroke, width] of [["#000a", 4], [tint, 2.2]]) { context.strokeStyle = stroke; context.lineWidth = width; context.strokeRect(x - 6, y - 6, 12, 12); }
    if (filled) { context.fillStyle = "#ffe14d"; context.fillRect(x - 3, y - 3, 6, 6); }
  };
}
