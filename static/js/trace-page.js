// <trace-page>: holds the trace, the selection, the moment and the view; keeps them in the address; tells the views
// when they change.
import { readJson, set, text } from "./dom.js";
import { live } from "./live.js";
import { errors } from "./trace-model.js";
import { asOf } from "./trace-moment.js";
import { pageKey } from "./trace-keys.js";
import { newest, turnedOut } from "./trace-news.js";
import { now } from "./clock.js";
import { showHead } from "./trace-head.js";

class TracePage extends HTMLElement {
  connectedCallback() {
    const query = new URLSearchParams(location.search);
    this.at = momentOf(query);
    this.unfolded = new Set(); // folds that the reader opened: in all views alike
    this.#keep(readJson("trace-data"));
    const chosen = this.querySelector("[data-chosen]")?.dataset ?? {};
    this.selection = {
      event: query.get("event") ?? chosen.event ?? "",
      group: query.get("group") ?? chosen.group ?? "",
    };
    this.addEventListener("click", (click) => this.#click(click));
    document.addEventListener("keydown", (press) => pageKey(press, this));
    addEventListener("popstate", () => this.#fromAddress());
    showHead(this, this.shown);
    live.watch(
      () => ({ kind: "trace", id: this.dataset.id }),
      (frame) => this.#take(frame),
    );
  }

  #take(frame) {
    if (frame.kind !== "trace" || !frame.trace) return;
    const before = newest(this.trace);
    const after = newest(frame.trace);
    const news = turnedOut(this.trace, frame.trace);
    if (news.length) text(this.querySelector("[data-announce]"), news.slice(0, 3).join(", "));
    this.#keep(frame.trace);
    showHead(this, this.shown);
    this.dispatchEvent(new Event("trace"));
    // Publish or settle on the server's clock → drawn here. An older trace opened now measures nothing.
    if (after > before) requestAnimationFrame(() => live.delay(now() - after));
  }

  #keep(trace) {
    this.trace = trace; // the newest there is
    this.shown = asOf(trace, this.at); // as of the moment that the reader is at
    this.dataset.played = this.at === null ? "" : "yes";
  }

  select(event, group, { remember = true } = {}) {
    this.selection = { event, group };
    if (remember) this.#toAddress("pushState");
    this.dispatchEvent(new Event("select"));
  }

  // `at`: ms since 1970, or null: now, which follows. The address follows when told to: playing would flood it.
  seek(at) {
    if (at === this.at) return;
    this.at = at;
    this.#keep(this.trace);
    showHead(this, this.shown);
    this.dispatchEvent(new Event("moment"));
  }

  unfold(key) {
    this.unfolded.add(key);
    this.dispatchEvent(new Event("fold"));
  }

  fold(key) {
    this.unfolded.delete(key);
    this.dispatchEvent(new Event("fold"));
  }

  remember() {
    this.#toAddress("replaceState");
  }

  show(tab) {
    this.dataset.tab = tab;
    for (const view of this.querySelectorAll("[data-view]")) view.hidden = view.dataset.view !== tab;
    for (const link of this.querySelectorAll("[data-tab]"))
      set(link, "aria-current", link.dataset.tab === tab ? "true" : null);
    this.dispatchEvent(new Event("tab"));
  }

  // What the views keep there themselves (`span`, `gaps`) stays.
  #toAddress(how) {
    const query = new URLSearchParams(location.search);
    const wanted = { view: this.dataset.tab, ...this.selection, at: this.at };
    query.delete("tab");
    for (const [name, value] of Object.entries(wanted)) {
      if (value === null || value === "" || value === "flow") query.delete(name);
      else query.set(name, value);
    }
    history[how](null, "", `?${query}`);
  }

  #fromAddress() {
    const query = new URLSearchParams(location.search);
    this.show(query.get("view") ?? query.get("tab") ?? "flow");
    this.seek(momentOf(query));
    if (query.get("event")) this.select(query.get("event"), query.get("group") ?? "", { remember: false });
  }

  #click(click) {
    if (click.ctrlKey || click.metaKey || click.shiftKey) return;
    const tab = click.target.closest("nav [data-tab]");
    const pick = click.target.closest("[data-pick]");
    const step = click.target.closest("[data-step]");
    if (step) return this.error(Number(step.dataset.step));
    if (!tab && !pick) return;
    click.preventDefault();
    if (tab) {
      this.show(tab.dataset.tab);
      return this.#toAddress("pushState");
    }
    const query = new URL(pick.href).searchParams;
    this.select(query.get("event"), query.get("group") ?? "");
  }

  // The next or previous lane in trouble, as of the moment that is shown.
  error(by) {
    const all = errors(this.shown);
    if (!all.length) return;
    const at = all.findIndex((one) => one.event === this.selection.event && one.group === this.selection.group);
    const next = all[at < 0 ? 0 : (at + by + all.length) % all.length];
    this.select(next.event, next.group);
  }
}

function momentOf(query) {
  return Number(query.get("at")) || null;
}

customElements.define("trace-page", TracePage);
