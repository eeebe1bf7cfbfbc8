// <trace-page>: holds the trace, the selection and the tab; keeps them in the address; tells the views when they change.
import { readJson, set, text } from "./dom.js";
import { live } from "./live.js";
import { errors } from "./trace-model.js";
import { now } from "./clock.js";
import { showHead } from "./trace-head.js";

class TracePage extends HTMLElement {
  connectedCallback() {
    this.trace = readJson("trace-data");
    const query = new URLSearchParams(location.search);
    const chosen = this.querySelector("[data-chosen]")?.dataset ?? {};
    this.selection = {
      event: query.get("event") ?? chosen.event ?? "",
      group: query.get("group") ?? chosen.group ?? "",
    };
    this.addEventListener("click", (click) => this.#click(click));
    document.addEventListener("keydown", (press) => this.#press(press));
    addEventListener("popstate", () => this.#fromAddress());
    showHead(this, this.trace);
    live.watch(
      () => ({ kind: "trace", id: this.dataset.id }),
      (frame) => this.#take(frame),
    );
  }

  #take(frame) {
    if (frame.kind !== "trace" || !frame.trace) return;
    const before = newest(this.trace);
    const after = newest(frame.trace);
    this.#announce(this.trace, frame.trace);
    this.trace = frame.trace;
    showHead(this, this.trace);
    this.dispatchEvent(new Event("trace"));
    // Publish or settle on the server's clock → drawn here. An older trace opened now measures nothing.
    if (after > before) requestAnimationFrame(() => live.delay(now() - after));
  }

  select(event, group, { remember = true } = {}) {
    this.selection = { event, group };
    if (remember) this.#toAddress();
    this.dispatchEvent(new Event("select"));
  }

  show(tab) {
    this.dataset.tab = tab;
    for (const view of this.querySelectorAll("[data-view]")) view.hidden = view.dataset.view !== tab;
    for (const link of this.querySelectorAll("[data-tab]"))
      set(link, "aria-current", link.dataset.tab === tab ? "true" : null);
    this.dispatchEvent(new Event("tab"));
  }

  #toAddress() {
    const query = new URLSearchParams();
    if (this.dataset.tab !== "flow") query.set("tab", this.dataset.tab);
    if (this.selection.event) query.set("event", this.selection.event);
    if (this.selection.group) query.set("group", this.selection.group);
    history.pushState(null, "", `?${query}`);
  }

  #fromAddress() {
    const query = new URLSearchParams(location.search);
    this.show(query.get("tab") ?? "flow");
    if (query.get("event")) this.select(query.get("event"), query.get("group") ?? "", { remember: false });
  }

  #click(click) {
    if (click.ctrlKey || click.metaKey || click.shiftKey) return;
    const tab = click.target.closest("nav [data-tab]");
    const pick = click.target.closest("[data-pick]");
    const step = click.target.closest("[data-step]");
    if (step) return this.#error(Number(step.dataset.step));
    if (!tab && !pick) return;
    click.preventDefault();
    if (tab) {
      this.show(tab.dataset.tab);
      return this.#toAddress();
    }
    const query = new URL(pick.href).searchParams;
    this.select(query.get("event"), query.get("group") ?? "");
  }

  #press(press) {
    if (press.ctrlKey || press.metaKey || press.altKey || press.target.closest("input, select, dialog[open]")) return;
    if (press.key === "n") this.#error(1);
    else if (press.key === "p") this.#error(-1);
  }

  #error(by) {
    const all = errors(this.trace);
    if (!all.length) return;
    const at = all.findIndex((one) => one.event === this.selection.event && one.group === this.selection.group);
    const next = all[at < 0 ? 0 : (at + by + all.length) % all.length];
    this.select(next.event, next.group);
  }

  #announce(before, after) {
    const states = new Map(
      before.events.flatMap((event) => event.lanes.map((lane) => [`${event.id} ${lane.group}`, lane.state])),
    );
    const turned = after.events.flatMap((event) =>
      event.lanes
        .filter(
          (lane) => ["dead", "lost"].includes(lane.state) && states.get(`${event.id} ${lane.group}`) !== lane.state,
        )
        .map((lane) => `${lane.group}: ${lane.label}`),
    );
    if (after.complete && !before.complete) turned.push("every group is done");
    if (turned.length) text(this.querySelector("[data-announce]"), turned.slice(0, 3).join(", "));
  }
}

function newest(trace) {
  return Math.max(
    0,
    ...trace.events.flatMap((event) => [event.at_ms ?? 0, ...event.lanes.map((lane) => lane.settled_ms ?? 0)]),
  );
}

customElements.define("trace-page", TracePage);
