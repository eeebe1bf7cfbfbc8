// <time-line>: the trace as a waterfall of real rows; only those in view exist, so thousands stay smooth.
import { now } from "./clock.js";
import { h, Keyed } from "./dom.js";
import { makeRow, ROW, showAxis, updateRow } from "./time-row.js";
import { rows, scale } from "./time-rows.js";

const SPARE = 8; // rows drawn above and below the view
const GROWS_EVERY_MS = 250;

class TimeLine extends HTMLElement {
  #squeeze = true;

  connectedCallback() {
    this.page = this.closest("trace-page");
    this.axis = h("div", { class: "axis", "aria-hidden": "true" });
    this.body = h("div", {
      class: "time-rows",
      role: "list",
      "aria-label": "Waterfall: events and deliveries in order",
    });
    this.scroller = h("div", { class: "time-scroll" }, this.axis, this.body);
    this.append(this.#legend(), this.scroller);
    this.keyed = new Keyed(this.body, makeRow, (node, row) => updateRow(node, row, this.scale, this.page.selection));
    this.scroller.addEventListener("scroll", () => this.#draw());
    for (const name of ["trace", "tab"]) this.page.addEventListener(name, () => this.#show());
    this.page.addEventListener("select", () => this.#draw());
    this.addEventListener("click", (click) => this.#click(click));
    setInterval(() => this.page.trace.complete || document.hidden || this.#show(), GROWS_EVERY_MS);
    this.#show();
  }

  #legend() {
    const squeeze = h("input", { type: "checkbox", checked: "" });
    squeeze.addEventListener("change", () => {
      this.#squeeze = squeeze.checked;
      this.#show();
    });
    const key = (kind, words) => h("span", { class: "row-line" }, h("i", { class: `part part-${kind}` }), words);
    return h(
      "div",
      { class: "legend note" },
      key("waiting", "waiting"),
      key("succeeded", "running, succeeded"),
      key("failed", "running, failed"),
      key("backing-off", "backing off"),
      h("label", { class: "row-line push" }, squeeze, "squeeze idle gaps"),
    );
  }

  #show() {
    if (this.page.dataset.tab !== "timeline") return;
    this.rows = rows(this.page.trace, now()).map((row, at) => ({ ...row, at_row: at }));
    this.scale = scale(this.rows, { squeeze: this.#squeeze });
    this.body.style.height = `${this.rows.length * ROW}px`;
    showAxis(this.axis, this.scale);
    this.#draw();
  }

  #draw() {
    if (!this.rows) return;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - SPARE);
    const many = Math.ceil(this.scroller.clientHeight / ROW) + SPARE * 2;
    this.keyed.show(this.rows.slice(first, first + many));
  }

  #click(click) {
    const row = this.rows?.find((one) => one.key === click.target.closest("[data-key]")?.dataset.key);
    if (row) this.page.select(row.event.id, row.lane?.group ?? "");
  }
}

customElements.define("time-line", TimeLine);
