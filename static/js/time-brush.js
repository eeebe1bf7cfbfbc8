// The whole trace in a strip: drag over it to look at a span, double-click for the whole.
import { h } from "./dom.js";

const LEAST = 0.004; // of the width: less than that is a click

export class TimeBrush {
  #from = null;

  constructor(choose) {
    this.canvas = h("canvas", { class: "brush-picture" });
    this.frame = h("i", { class: "brush-frame", hidden: "" });
    this.cursor = h("i", { class: "brush-cursor", hidden: "" });
    this.area = h("div", { class: "brush-area" }, this.canvas, this.frame, this.cursor);
    const words = h("span", { class: "note cut" }, "drag to look at a span");
    this.node = h("div", { class: "time-brush", "aria-hidden": "true" }, words, this.area);
    this.choose = choose;
    this.area.addEventListener("pointerdown", (down) => this.#begin(down));
    this.area.addEventListener("pointermove", (move) => this.#from !== null && this.#drawFrame(this.#from, this.#x(move)));
    this.area.addEventListener("pointerup", (up) => this.#end(up));
    this.area.addEventListener("dblclick", () => choose(null));
    const paint = () => this.all && this.#paint();
    new ResizeObserver(paint).observe(this.area);
    new MutationObserver(paint).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  show(all, scale, span, at) {
    Object.assign(this, { all, scale });
    this.#paint();
    if (this.#from !== null) return;
    if (span) this.#drawFrame(scale.at(span[0]), scale.at(span[1]));
    this.frame.hidden = !span;
    this.cursor.hidden = at === null;
    if (at !== null) this.cursor.style.left = `${scale.at(at) * 100}%`;
  }

  #x(pointer) {
    const box = this.area.getBoundingClientRect();
    return Math.min(1, Math.max(0, (pointer.clientX - box.left) / box.width));
  }

  #begin(down) {
    if (down.button !== 0) return;
    this.#from = this.#x(down);
    this.area.setPointerCapture(down.pointerId);
  }

  #end(up) {
    if (this.#from === null) return;
    const [from, to] = [this.#from, this.#x(up)].sort((a, b) => a - b);
    this.#from = null;
    if (to - from > LEAST) this.choose([this.scale.msAt(from), Math.max(this.scale.msAt(to), this.scale.msAt(from) + 1)]);
  }

  #drawFrame(from, to) {
    const [left, right] = [from, to].sort((a, b) => a - b);
    this.frame.hidden = false;
    this.frame.style.left = `${left * 100}%`;
    this.frame.style.width = `${(right - left) * 100}%`;
  }

  // As many lines as there are pixels; of several rows in one line the troubled one is on top.
  #paint() {
    const { clientWidth: width, clientHeight: height } = this.area;
    if (!width) return;
    const ratio = devicePixelRatio || 1;
    Object.assign(this.canvas, { width: width * ratio, height: height * ratio });
    const brush = this.canvas.getContext("2d");
    brush.scale(ratio, ratio);
    const style = getComputedStyle(this.canvas);
    const thick = Math.max(1, Math.min(3, height / this.all.length - 0.5));
    for (const bad of [false, true]) {
      brush.fillStyle = bad ? style.outlineColor : style.color;
      this.all.forEach((row, at) => this.#paintRow(brush, row, { bad, y: (at / this.all.length) * (height - thick), thick, width }));
    }
  }

  #paintRow(brush, row, { bad, y, thick, width }) {
    if (!row.lane && !bad && row.at) brush.fillRect(this.scale.at(row.at) * width, y, 2, thick);
    for (const part of row.parts) {
      const failed = part.kind === "failed" || part.kind === "reclaimed";
      if (!part.number || failed !== bad) continue;
      const from = this.scale.at(part.from) * width;
      brush.fillRect(from, y, Math.max(2, this.scale.at(part.to) * width - from), thick);
    }
  }
}
