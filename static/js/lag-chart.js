// <lag-chart>: a group over time. Draws what the server rendered as a table and keeps it current; the table stays below.
import { fromHtml, set, text } from "./dom.js";
import { now } from "./clock.js";
import { drawn } from "./plot.js";
import { measured } from "./words.js";

const SOONEST_MS = 10_000;
const root = document.documentElement;

class LagChart extends HTMLElement {
  connectedCallback() {
    if (!this.firstElementChild) return;
    this.plots = [];
    this.stops = new AbortController();
    const { signal } = this.stops;
    this.querySelector(".points").open = false;
    this.addEventListener("click", (click) => this.#choose(click), { signal });
    this.addEventListener("keydown", (key) => this.#step(key), { signal });
    this.addEventListener("pointerleave", () => this.#show(null), { signal });
    addEventListener("popstate", () => this.#load(new URLSearchParams(location.search).get("range")), { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw(), { signal });
    this.looks = new MutationObserver(() => this.#draw());
    this.looks.observe(root, { attributeFilter: ["data-theme", "data-density", "data-time"] });
    this.sizes = new ResizeObserver(() => this.plots.forEach((plot) => plot.fit()));
    this.timer = setInterval(() => this.#again(), 1000);
    this.#begin();
  }

  disconnectedCallback() {
    clearInterval(this.timer);
    this.stops?.abort();
    this.looks?.disconnect();
    this.sizes?.disconnect();
    this.plots?.forEach((plot) => plot.remove());
  }

  // The data and the page around it are as the server just rendered them.
  #begin() {
    this.series = JSON.parse(this.querySelector("script").textContent);
    this.range = this.dataset.range;
    this.next = Date.now() + Math.max(SOONEST_MS, Math.min(this.series.step_ms, 60_000));
    this.querySelector("[data-plots]").hidden = false;
    this.#draw();
  }

  #draw() {
    this.sizes.disconnect();
    this.plots.forEach((plot) => plot.remove());
    this.plots = [...this.querySelectorAll("[data-plot]")].map((figure) =>
      drawn(figure, this.series, (at) => this.#show(at)),
    );
    this.sizes.observe(this);
    this.#show(null);
  }

  // The figures at the crosshair; away from the charts the newest ones.
  #show(at) {
    this.at = at;
    for (const key of this.querySelectorAll("[data-line]")) {
      const values = this.series[key.dataset.line];
      const value = at === null ? values.findLast((one) => one !== null) : values[at];
      text(key.querySelector("output"), measured(value ?? null, key.dataset.unit));
    }
    text(this.querySelector("[data-at]"), at === null ? "" : moment(this.series.at_ms[at]));
  }

  #step(key) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[key.key];
    if (!by || !key.target.matches("[data-plots]")) return;
    key.preventDefault();
    const last = this.series.at_ms.length - 1;
    const at = Math.max(0, Math.min(last, (this.at ?? last + 1) + by));
    this.plots.forEach((plot) => plot.point(at));
    this.#show(at);
  }

  #choose(click) {
    const link = click.target.closest("[data-choose]");
    if (!link || click.metaKey || click.ctrlKey) return;
    click.preventDefault();
    history.pushState({}, "", link.href);
    this.#load(link.dataset.choose);
  }

  // Nothing moves under the pointer: what is read stays until the reader has left.
  #again() {
    if (document.hidden || Date.now() < this.next || this.matches(":hover") || this.at !== null) return;
    this.#load(this.range);
  }

  async #load(range) {
    this.next = Date.now() + SOONEST_MS;
    try {
      const answer = await fetch(`${this.dataset.url}?range=${encodeURIComponent(range ?? "")}`);
      if (answer.ok) this.#take(fromHtml(await answer.text()).querySelector("lag-chart"));
    } catch {
      // The charts keep what they show; that the dashboard is away, the footer says.
    }
  }

  #take(fresh) {
    for (const name of ["range", "step"]) this.dataset[name] = fresh.dataset[name];
    for (const part of [".segments", ".types", ".points tbody", "summary", "script"])
      this.querySelector(part).replaceWith(fresh.querySelector(part));
    for (const figure of this.querySelectorAll("[data-plot]")) {
      const empty = fresh.querySelector(`[data-plot="${figure.dataset.plot}"]`).hasAttribute("data-empty");
      set(figure, "data-empty", empty ? "" : null);
    }
    this.#begin();
  }
}

// As the header's switch says; relative times are told from now.
function moment(ms) {
  const shifted = root.dataset.time === "utc" ? ms : ms - new Date(ms).getTimezoneOffset() * 60_000;
  const ago = Math.max(0, Math.round((now() - ms) / 1000));
  const words = ago < 120 ? `${ago} s ago` : `${Math.round(ago / 60)} min ago`;
  return `${new Date(shifted).toISOString().slice(11, 19)} · ${words}`;
}

customElements.define("lag-chart", LagChart);
