// A small picture of a large graph: troubled cards in colour, the visible part as a frame; a click or drag goes there.
import { h } from "./dom.js";

const WIDTH = 176;
const MIN_WIDTH = 72; // a tall graph is squeezed, or its cards would vanish
const MAX_HEIGHT = 132;
const WORTH_IT = 1.3; // shown once the graph is this much larger than the view

export class MiniMap {
  #places = [];
  #picture = h("canvas");

  constructor(scroller, scene) {
    Object.assign(this, { scroller, scene });
    this.canvas = h("canvas", { class: "mini-map", "aria-hidden": "true", hidden: "" });
    scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.#paint()).observe(scroller);
    new MutationObserver(() => this.#paint()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    this.canvas.addEventListener("pointerdown", (down) => {
      this.canvas.setPointerCapture(down.pointerId);
      this.#go(down);
    });
    this.canvas.addEventListener("pointermove", (move) => move.buttons && this.#go(move));
  }

  // `places`: {x, y, width, height, state} of every card, in the scene's own pixels.
  show(places) {
    this.#places = places;
    this.#paint();
  }

  // The cards, once; scrolling then only moves the frame over them.
  #paint() {
    const { scroller, scene, canvas } = this;
    const zoom = Number(scene.style.zoom || 1);
    this.zoom = zoom;
    const [width, height] = [parseFloat(scene.style.width), parseFloat(scene.style.height)];
    const large = width * zoom > scroller.clientWidth * WORTH_IT || height * zoom > scroller.clientHeight * WORTH_IT;
    canvas.hidden = !large || !scroller.clientWidth;
    if (canvas.hidden) return;
    this.y = Math.min(WIDTH / width, MAX_HEIGHT / height);
    this.x = Math.min(WIDTH / width, Math.max(this.y, MIN_WIDTH / width));
    this.#resize(width * this.x, height * this.y);
    this.#cards(this.#picture.getContext("2d"));
    this.ink = getComputedStyle(canvas).color;
    this.draw();
  }

  draw() {
    const { scroller, scene, canvas } = this;
    const zoom = Number(scene.style.zoom || 1);
    if (zoom !== this.zoom) return this.#paint();
    if (canvas.hidden || !this.ink) return;
    const brush = canvas.getContext("2d");
    const ratio = devicePixelRatio || 1;
    brush.clearRect(0, 0, canvas.width, canvas.height);
    brush.drawImage(this.#picture, 0, 0, canvas.width / ratio, canvas.height / ratio);
    brush.strokeStyle = this.ink;
    brush.lineWidth = 1.5;
    const frame = [scroller.scrollLeft, scroller.scrollTop, scroller.clientWidth, scroller.clientHeight];
    brush.strokeRect(...frame.map((pixels, at) => (pixels / zoom) * (at % 2 ? this.y : this.x)));
  }

  #resize(width, height) {
    const ratio = devicePixelRatio || 1;
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    for (const canvas of [this.canvas, this.#picture]) {
      Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
      canvas.getContext("2d").scale(ratio, ratio);
    }
  }

  #cards(brush) {
    const style = getComputedStyle(this.canvas); // resolves light-dark(), which a canvas can't
    const paint = { dead: style.outlineColor, retrying: style.textDecorationColor, well: style.borderTopColor };
    for (const { x, y, width, height, state } of this.#places) {
      brush.fillStyle = paint[state];
      brush.fillRect(x * this.x, y * this.y, Math.max(2, width * this.x), Math.max(1.5, height * this.y - 1));
    }
  }

  #go(pointer) {
    const zoom = Number(this.scene.style.zoom || 1);
    const box = this.canvas.getBoundingClientRect();
    const to = (offset, scale, view) => (offset / scale) * zoom - view / 2;
    this.scroller.scrollTo(
      to(pointer.clientX - box.left, this.x, this.scroller.clientWidth),
      to(pointer.clientY - box.top, this.y, this.scroller.clientHeight),
    );
  }
}
