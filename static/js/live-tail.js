// <live-tail>: new events of a topic on top of the stored ones. Follows until the reader scrolls, points or pauses; counts exactly.
import { showTimes } from "./clock.js";
import { fromHtml, h, icon, set, text } from "./dom.js";
import { fetchPart } from "./fetch-part.js";
import { live } from "./live.js";
import { count } from "./words.js";

const DRAWN = 200; // rows kept in the table
const HEAD_EVERY_MS = 3000;
const HELD = 200; // rows kept back while the reader looks

class LiveTail extends HTMLElement {
  #held = [];
  #new = 0;
  #skipped = 0;
  #total = 0;
  #cursor = null;
  #paused = false;

  connectedCallback() {
    setInterval(() => this.#refreshHead(), HEAD_EVERY_MS);
    if (!this.dataset.topic) return;
    this.#cursor = this.dataset.cursor || null;
    this.body = this.querySelector("tbody");
    this.scroller = this.querySelector(".tail-scroll");
    this.button = this.querySelector(".tail-new");
    this.pause = this.querySelector("[data-tail-pause]");
    this.scroller.addEventListener("scroll", () => this.#follows && this.#flush());
    this.body.addEventListener("pointerleave", () => this.#follows && this.#flush());
    this.button.addEventListener("click", () => this.#toTop());
    this.pause.addEventListener("click", () => this.#setPaused(!this.#paused));
    live.watch(
      () => ({
        kind: "topic",
        topic: this.dataset.topic,
        cursor: this.#cursor,
        type: this.dataset.type || null,
        key: this.dataset.key || null,
      }),
      (frame) => this.#take(frame),
    );
  }

  get #follows() {
    return (
      !this.#paused &&
      this.scroller.scrollTop < 8 &&
      !this.body.matches(":hover") &&
      !this.body.querySelector("tr.current, tr.opened-row")
    );
  }

  #take(frame) {
    if (frame.kind !== "tail") return;
    this.#cursor = frame.cursor;
    this.#total += frame.published;
    const rows = [...fromHtml(`<table><tbody>${frame.rows.join("")}</tbody></table>`).querySelectorAll("tr")].filter(
      (row) => this.#wanted(row),
    );
    this.#skipped += frame.skipped ?? 0;
    this.#new += rows.length + (frame.skipped ?? 0);
    this.#held = this.#held.concat(rows).slice(-HELD);
    if (this.#follows) this.#flush();
    for (const step of frame.steps ?? []) this.#mark(step);
    this.#count();
  }

  // Figures and groups above the table; not while the reader points at them.
  #refreshHead() {
    const target = document.getElementById("topic-head");
    if (document.hidden || target.matches(":hover, :focus-within")) return;
    fetchPart(this.dataset.headUrl, target);
  }

  #wanted(row) {
    const { type, key } = this.dataset;
    return (!type || row.dataset.type === type) && (!key || row.dataset.key === key);
  }

  #flush() {
    this.#new = 0;
    if (this.#held.length) {
      for (const row of this.#held) {
        this.#row(row.dataset.row)?.remove(); // told twice around a reconnect
        this.body.prepend(row);
      }
      this.#held = [];
      while (this.body.childElementCount > DRAWN) this.body.lastElementChild.remove();
      this.querySelector("[data-empty]")?.remove();
      showTimes(this.body);
    }
    this.#count();
  }

  #row(key) {
    return this.body.querySelector(`tr[data-row="${CSS.escape(key)}"]`);
  }

  #mark(step) {
    const row = this.#row(step.row) ?? this.#held.find((one) => one.dataset.row === step.row);
    const strip = row?.querySelector(".strip");
    if (!strip) return;
    const name =
      step.state === "succeeded" && step.label.startsWith("Succeeded after") ? "succeeded-later" : step.state;
    const words = `${step.group}: ${step.label}`;
    const mark = h(
      "span",
      { class: `state state-${name}`, "data-group": step.group, role: "img", "aria-label": words, title: words },
      icon(`state-${name}`),
    );
    const old = [...strip.children].find((one) => one.dataset.group === step.group);
    if (old) old.replaceWith(mark);
    else strip.insertBefore(mark, [...strip.children].find((one) => one.dataset.group > step.group) ?? null);
  }

  #count() {
    this.button.hidden = !this.#new;
    if (this.#new) this.button.replaceChildren(`${count(this.#new)} new`, icon("arrow-up"));
    const ratio = this.#skipped
      ? ` · drawing 1 of ${Math.max(2, Math.round(this.#total / Math.max(1, this.#total - this.#skipped)))}, counters exact`
      : "";
    const why = this.#paused ? "paused" : this.#follows ? "following" : "holding while you look";
    text(this.querySelector("[data-tail-note]"), `${why} · ${count(this.#total)} since you opened this page${ratio}`);
  }

  #toTop() {
    if (this.#paused) this.#setPaused(false);
    this.body.querySelector("tr.current")?.classList.remove("current");
    for (const opened of this.body.querySelectorAll("tr.opened-row")) {
      set(opened.previousElementSibling.querySelector("[data-row-open]"), "aria-expanded", "false");
      opened.remove();
    }
    this.scroller.scrollTop = 0;
    this.#flush();
  }

  #setPaused(paused) {
    this.#paused = paused;
    set(this.pause, "aria-pressed", String(paused));
    text(this.pause.querySelector("span"), paused ? "Resume" : "Pause");
    if (this.#follows) this.#flush();
    this.#count();
  }
}

customElements.define("live-tail", LiveTail);
