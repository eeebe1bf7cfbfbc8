// <time-line>: the trace as a waterfall of real rows; only those in view exist, so thousands stay smooth.
import { now } from "./clock.js";
import { h, Keyed } from "./dom.js";
import { TimeBrush } from "./time-brush.js";
import { legend } from "./time-legend.js";
import { makeRow, ROW, showAxis, showCursor, updateRow } from "./time-row.js";
import { rows, rowsWithin, scale } from "./time-rows.js";

const SPARE = 8; // rows drawn above and below the view
const GROWS_EVERY_MS = 250;

class TimeLine extends HTMLElement {
  connectedCallback() {
    this.page = this.closest("trace-page");
    this.#read();
    this.#build();
    this.scroller.addEventListener("scroll", () => this.#draw({ fresh: true }), { passive: true });
    new ResizeObserver(() => this.#draw()).observe(this.scroller);
    for (const name of ["trace", "tab", "moment"]) this.page.addEventListener(name, () => this.#show());
    this.page.addEventListener("select", () => this.#reveal());
    this.addEventListener("click", (click) => this.#click(click));
    addEventListener("popstate", () => this.#read() || this.#show());
    setInterval(() => this.page.shown.complete || this.page.at || document.hidden || this.#show(), GROWS_EVERY_MS);
    this.#show();
    this.#reveal();
  }

  #build() {
    this.axis = h("div", { class: "axis", "aria-hidden": "true" });
    this.cursor = h("div", { class: "time-cursor", "aria-hidden": "true" }, h("div", { class: "time-area" }, h("i")));
    this.body = h("div", { class: "time-rows", role: "list", "aria-label": "Waterfall: events and deliveries in order" });
    this.scroller = h("div", { class: "time-scroll" }, this.axis, this.body, this.cursor);
    this.tools = legend({
      squeezed: this.squeezes,
      squeeze: (on) => this.#keep({ gaps: on ? null : "full" }),
      whole: () => this.#keep({ span: null }),
      selected: () => this.#spanOfSelected(),
    });
    this.brush = new TimeBrush((span) => this.#keep({ span: span && span.map(Math.round).join("-") }));
    this.append(this.tools, this.brush.node, this.scroller);
    this.keyed = new Keyed(this.body, makeRow, (node, row) => updateRow(node, row, this.scale, this.page.selection));
  }

  // Span and squeezing are in the address.
  #read() {
    const query = new URLSearchParams(location.search);
    const [from, to] = (query.get("span") ?? "").split("-").map(Number);
    this.span = from > 0 && to > from ? [from, to] : null;
    this.squeezes = query.get("gaps") !== "full";
  }

  #keep(wanted) {
    const address = new URL(location);
    for (const [name, value] of Object.entries(wanted)) {
      if (value) address.searchParams.set(name, value);
      else address.searchParams.delete(name);
    }
    history.replaceState(null, "", address);
    this.#read();
    this.#show();
  }

  #spanOfSelected() {
    const row = this.all?.find((one) => this.#isSelected(one));
    if (!row) return;
    const end = row.parts.at(-1)?.to ?? row.at;
    const room = Math.max(1, (end - row.at) * 0.05);
    this.#keep({ span: `${Math.round(row.at - room)}-${Math.round(end + room)}` });
  }

  #show() {
    if (this.page.dataset.tab !== "timeline") return;
    const { trace, shown, at } = this.page;
    const newest = rows(trace, now());
    this.whole = scale(newest, { squeeze: this.squeezes });
    this.all = shown === trace ? newest : rows(shown, at);
    this.rows = rowsWithin(this.all, this.span).map((row, place) => ({ ...row, at_row: place }));
    this.scale = this.span ? this.whole.within(this.span) : this.whole;
    this.body.style.height = `${this.rows.length * ROW}px`;
    this.brush.show(this.all, this.whole, this.span, at);
    this.tools.show({ spanned: this.span, shown: this.rows.length, of: this.all.length });
    showAxis(this.axis, this.scale);
    showCursor(this.cursor, this.scale, at);
    this.#draw();
  }

  #draw({ fresh = false } = {}) {
    if (!this.rows || this.page.dataset.tab !== "timeline") return;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - SPARE);
    const many = Math.ceil(this.scroller.clientHeight / ROW) + SPARE * 2;
    this.keyed.show(this.rows.slice(first, first + many), { fresh });
  }

  #isSelected(row) {
    const { event, group } = this.page.selection;
    return row.event.id === event && (row.lane?.group ?? "") === (group ?? "");
  }

  #reveal() {
    if (this.page.dataset.tab !== "timeline") return;
    const at = this.rows?.findIndex((row) => this.#isSelected(row)) ?? -1;
    const { scrollTop, clientHeight } = this.scroller;
    const y = at * ROW;
    if (at >= 0 && (y < scrollTop || y > scrollTop + clientHeight - ROW * 3)) this.scroller.scrollTop = y - clientHeight / 3;
    this.#draw();
  }

  #click(click) {
    const row = this.rows?.find((one) => one.key === click.target.closest("[data-key]")?.dataset.key);
    if (row) this.page.select(row.event.id, row.lane?.group ?? "");
  }
}

customElements.define("time-line", TimeLine);
