// Live mode: frames of a camera, a screen or a video go to the service, its masks come back. docs/live.md is the protocol.
import { ask } from "./api.js";
import { paint } from "./viewer.js";

const HEADER_BYTES = 16, PARTS_BYTES = 12;
const JPEG = 1, JPEG_QUALITY = 0.85;
const LONGEST_SIDE = 800; // a frame is made smaller before it is sent: the network sees no more than 512 of it
const MOST_BEHIND_BYTES = 2_000_000; // not sent yet: beyond that a frame is left out
const FRAME_S = 1 / 30;

/** A stream, from its source to its masks. Tells `shown`, `told` (numbers) and `ended` (a reason) as events. */
export class Live extends EventTarget {
  constructor() {
    super();
    this.video = document.createElement("video");
    Object.assign(this.video, { muted: true, playsInline: true, loop: true });
    this.marks = document.createElement("canvas");
    this.element = document.createElement("figure");
    this.element.className = "viewer live";
    this.element.append(this.video, this.marks);
    this.frame = document.createElement("canvas");
    this.sequence = 0;
    this.dropped = 0;
    this.shown = [];
    this.raw = false;
    Object.assign(this, { how: "mask", opacity: 0.45, patterns: false });
  }

  /** Begins with a camera, a screen, or a video file. It may be stopped while people are asked whether they allow it. */
  async start(source, version, onWait) {
    if (source instanceof File) {
      this.video.src = URL.createObjectURL(source);
    } else {
      const devices = navigator.mediaDevices;
      if (!devices) throw new DOMException("", "SecurityError"); // browsers have them for https and for this computer only
      const video = { width: { ideal: 1280 }, frameRate: { ideal: 30 } };
      this.stream = await (source === "screen" ? devices.getDisplayMedia({ video }) : devices.getUserMedia({ video }));
      this.video.srcObject = this.stream;
      this.stream.getVideoTracks()[0].addEventListener("ended", () => this.stop());
    }
    if (this.ended) return this.#release();
    await this.video.play();
    const { ticket } = await (await ask("v1/stream/ticket", { method: "POST", onWait })).json();
    if (this.ended) return;
    const query = new URLSearchParams({ ticket, ...(version ? { version } : {}) });
    const address = new URL(`v1/stream?${query}`, document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.socket.addEventListener("message", ({ data }) => (typeof data === "string" ? this.#told(JSON.parse(data)) : this.#answer(data)));
    this.socket.addEventListener("close", ({ reason }) => this.#end(reason));
  }

  /** Ends the stream, the camera too. */
  stop() {
    this.socket?.close(1000);
    this.#end("");
  }

  #end(reason) {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.next);
    this.#release();
    this.dispatchEvent(new CustomEvent("ended", { detail: reason }));
  }

  /** Lets camera, screen or file go. */
  #release() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.video.pause();
    if (this.video.src) URL.revokeObjectURL(this.video.src);
  }

  #told(message) {
    if (message.type === "ready") {
      this.ready = message;
      this.colours = Object.fromEntries(message.classes.map(({ number, colour }) => [number, colour]));
      this.#send();
    } else {
      this.statistics = message;
    }
    this.#tell();
  }

  #send() {
    if (this.ended) return;
    const began = performance.now();
    const { videoWidth, videoHeight } = this.video;
    const again = () => { this.next = setTimeout(() => this.#send(), Math.max(0, 1000 * FRAME_S - (performance.now() - began))); };
    if (!videoWidth || this.socket.bufferedAmount > MOST_BEHIND_BYTES) {
      this.dropped += videoWidth ? 1 : 0;
      again();
      return;
    }
    const scale = Math.min(1, LONGEST_SIDE / Math.max(videoWidth, videoHeight));
    Object.assign(this.frame, { width: Math.round(videoWidth * scale), height: Math.round(videoHeight * scale) });
    this.frame.getContext("2d").drawImage(this.video, 0, 0, this.frame.width, this.frame.height);
    const capturedUs = BigInt(Math.round(1000 * began));
    this.frame.toBlob(async (blob) => {
      const header = new DataView(new ArrayBuffer(HEADER_BYTES));
      header.setUint32(0, this.sequence++);
      header.setBigUint64(4, capturedUs);
      header.setUint16(12, JPEG);
      if (!this.ended && this.socket.readyState === WebSocket.OPEN) this.socket.send(await new Blob([header, blob]).arrayBuffer());
      again();
    }, "image/jpeg", JPEG_QUALITY);
  }

  async #answer(data) {
    const view = new DataView(data);
    const latency = performance.now() - Number(view.getBigUint64(4)) / 1000;
    const [summary, steadied, raw] = [0, 4, 8].map((place) => view.getUint32(HEADER_BYTES + place));
    const start = HEADER_BYTES + PARTS_BYTES;
    const { classes, is_still: isStill } = JSON.parse(new TextDecoder().decode(new Uint8Array(data, start, summary)));
    const first = start + summary;
    const mask = this.raw ? data.slice(first + steadied, first + steadied + raw) : data.slice(first, first + steadied);
    const bitmap = await createImageBitmap(new Blob([mask], { type: "image/png" }));
    this.#draw(bitmap);
    const now = performance.now();
    this.shown = [...this.shown.filter((at) => now - at < 2000), now];
    Object.assign(this, { classes, isStill, latency });
    this.#tell();
  }

  /** Lays a mask over the video, outlined and filled as pictures are: told apart by patterns too, if asked for. */
  #draw(bitmap) {
    Object.assign(this.marks, { width: bitmap.width, height: bitmap.height });
    const context = this.marks.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    const drawn = context.createImageData(bitmap.width, bitmap.height);
    for (const [number, [red, green, blue]] of Object.entries(this.colours)) {
      if (number === "0") continue;
      const mask = new Uint8Array(bitmap.width * bitmap.height);
      for (let place = 0, at = 0; place < mask.length; place++, at += 4) {
        mask[place] = data[at] === red && data[at + 1] === green && data[at + 2] === blue;
      }
      const fill = this.how === "outline" ? 0 : this.opacity;
      paint(drawn, mask, [red, green, blue], { fill, pattern: this.patterns ? Number(number) : 0, thick: 2 });
    }
    context.putImageData(drawn, 0, 0);
    // The video is fitted into its box; the mask covers the video alone.
    const { clientWidth, clientHeight } = this.element;
    const scale = Math.min(clientWidth / this.video.videoWidth, clientHeight / this.video.videoHeight);
    const [width, height] = [this.video.videoWidth * scale, this.video.videoHeight * scale];
    Object.assign(this.marks.style, {
      width: `${width}px`, height: `${height}px`, left: `${(clientWidth - width) / 2}px`, top: `${(clientHeight - height) / 2}px`,
    });
  }

  #tell() {
    this.dispatchEvent(new CustomEvent("told", { detail: {
      framesPerSecond: this.shown.length / 2,
      latencyMs: this.latency ?? 0,
      dropped: this.dropped + (this.statistics ? this.statistics.dropped + this.statistics.unsent : 0),
      classes: this.classes ?? [],
      isStill: this.isStill ?? false,
      model: this.ready,
    } }));
  }
}
