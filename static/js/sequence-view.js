// <sequence-view>: sources, topics and groups as lifelines, what one hands to the other as arrows, attempts as bars.
import { h, Keyed, text } from "./dom.js";
import { columnWidth, GUTTER, makeRun, makeStep, ROW, updateRun, updateStep } from "./sequence-row.js";
import { sequence } from "./trace-steps.js";
import { cards, foldsAround } from "./trace-model.js";

const SPARE = 10; // rows drawn above and below the view
const MOST_LEVELS = 6;

class SequenceView extends HTMLElement {
  #troubled = new Set();

  connectedCallback() {
    this.page = this.closest("trace-page");
    this.heads = h("div", { class: "seq-heads", "aria-hidden": "true" });
    this.lines = h("div", { class: "seq-lines", "aria-hidden": "true" });
    this.runs = h("div", { class: "seq-runs", "aria-hidden": "true" });
    this.body = h("div", { class: "seq-rows", role: "list", "aria-label": "Steps of the trace, causes first" });
    this.scroller = h("div", { class: "seq-scroll" }, this.heads, h("div", { class: "seq-body" }, this.lines, this.runs, this.body));
    this.append(this.scroller);
    this.rowNodes = new Keyed(this.body, makeStep, (node, step) => updateStep(node, step, this));
    this.runNodes = new Keyed(this.runs, makeRun, (node, run) => updateRun(node, run, this));
    this.scroller.addEventListener("scroll", () => this.#draw({ fresh: true }), { passive: true });
    new ResizeObserver(() => this.#show()).observe(this.scroller);
    for (const name of ["trace", "fold", "tab"]) this.page.addEventListener(name, () => this.#show());
    this.page.addEventListener("moment", () => this.#moved());
    this.page.addEventListener("select", () => this.#reveal());
    this.addEventListener("click", (click) => this.#click(click));
    document.addEventListener("keydown", (press) => this.#press(press));
    this.#show();
  }

  // The rows are those of the whole trace: at an earlier moment the later ones are there, unseen.
  #show() {
    if (this.page.dataset.tab !== "sequence") return;
    const first = !this.told;
    this.cards = cards(this.page.trace, this.page.unfolded, this.#troubled);
    this.told = sequence(this.cards);
    this.columns = new Map(this.told.lifelines.map((line) => [line.key, line.at]));
    this.start = this.told.steps[0]?.at ?? 0;
    this.column = columnWidth(this.scroller.clientWidth, this.told.lifelines.length);
    const width = GUTTER + this.column * this.told.lifelines.length;
    for (const node of [this.heads, this.lines, this.body]) node.style.width = `${width}px`;
    this.body.parentNode.style.height = `${this.told.steps.length * ROW + 16}px`;
    this.heads.replaceChildren(...this.told.lifelines.map((line) => this.#at(head(line), line)));
    this.lines.replaceChildren(...this.told.lifelines.map((line) => this.#at(h("i", { class: `seq-line seq-${line.kind}` }), line)));
    this.#draw();
    if (first) this.#reveal();
  }

  get isShown() {
    return this.page.dataset.tab === "sequence" && this.told;
  }

  x(key) {
    return GUTTER + this.column * (this.columns.get(key) + 0.5);
  }

  #at(node, line) {
    node.style.left = `${this.x(line.key)}px`;
    if (node.classList.contains("seq-head")) node.style.width = `${this.column - 8}px`;
    return node;
  }

  // How many rows had happened at the moment that is shown.
  get seen() {
    const { at } = this.page;
    if (at === null) return this.told.steps.length;
    const later = this.told.steps.findIndex((step) => step.at > at);
    return later < 0 ? this.told.steps.length : later;
  }

  #draw({ fresh = false } = {}) {
    if (!this.isShown) return;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - SPARE);
    const last = first + Math.ceil(this.scroller.clientHeight / ROW) + SPARE * 2;
    this.until = this.seen;
    const ends = (run) => run.last?.row ?? Infinity;
    const focused = this.told.steps.find((step) => step.key === document.activeElement?.parentNode?.dataset?.stepKey);
    const rows = this.told.steps.slice(first, last);
    if (focused && !rows.includes(focused)) rows.push(focused);
    this.rowNodes.show(rows, { fresh });
    this.runNodes.show(
      this.told.runs.filter((run) => run.first.row <= last && ends(run) >= first && run.level < MOST_LEVELS),
    );
  }

  #moved() {
    if (!this.isShown) return;
    const row = Math.max(0, this.seen - 1);
    const top = row * ROW;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop || top > scrollTop + clientHeight - ROW * 4) this.scroller.scrollTop = top - clientHeight / 2;
    this.#draw();
  }

  isCurrent(step) {
    const { event, group } = this.page.selection;
    return step.event.id === event && (step.group ?? "") === (group ?? "") && step.kind !== "fold";
  }

  #reveal() {
    if (!this.isShown) return;
    const folds = foldsAround(this.cards, this.page.trace, this.page.selection.event);
    if (folds.length) return folds.forEach((key) => this.page.unfold(key));
    const step = this.told.steps.find((one) => this.isCurrent(one));
    if (step) this.#scrollTo(step);
    this.#draw();
  }

  #scrollTo({ row, from, to }) {
    const { scrollTop, clientHeight, scrollLeft, clientWidth } = this.scroller;
    const y = row * ROW;
    if (y < scrollTop || y > scrollTop + clientHeight - ROW * 4) this.scroller.scrollTop = y - clientHeight / 3;
    const x = Math.min(...[from, to].filter(Boolean).map((key) => this.x(key)));
    if (x < scrollLeft + GUTTER || x > scrollLeft + clientWidth - this.column) this.scroller.scrollLeft = x - GUTTER - this.column;
  }

  #click(click) {
    const key = click.target.closest("[data-step-key]")?.dataset.stepKey;
    const step = this.told.steps.find((one) => one.key === key);
    if (!step) return;
    if (step.kind === "fold") this.page[step.card.open ? "fold" : "unfold"](step.card.key);
    else this.page.select(step.event.id, step.group ?? "");
  }

  #press(press) {
    if (!this.isShown || press.defaultPrevented || press.ctrlKey || press.metaKey || press.altKey) return;
    const inside = this.contains(press.target);
    if (press.target.closest("input, select, dialog[open]")) return;
    const by = { j: 1, k: -1, ...(inside && { ArrowDown: 1, ArrowUp: -1 }) }[press.key];
    if (!by) return;
    press.preventDefault();
    const steps = this.told.steps;
    const here = press.target.closest("[data-step-key]")?.dataset.stepKey;
    const from = here ? steps.findIndex((step) => step.key === here) : steps.findIndex((step) => this.isCurrent(step)) - by;
    const step = steps[Math.min(steps.length - 1, Math.max(0, from + by))];
    this.#scrollTo(step);
    this.#draw();
    this.rowNodes.nodes.get(step.key)?.firstChild.focus({ preventScroll: true });
  }
}

function head(line) {
  const node = h("div", { class: `seq-head seq-${line.kind}`, title: `${line.kind} ${line.name}` });
  node.append(h("span", { class: "note" }, line.kind), h("span", { class: "cut" }));
  text(node.lastChild, line.name);
  return node;
}

customElements.define("sequence-view", SequenceView);
