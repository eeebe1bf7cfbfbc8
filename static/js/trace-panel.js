// The side panel and the list: server-rendered, fetched again when what they show has changed.
import { fetchPart } from "./fetch-part.js";
import { eventKey } from "./trace-model.js";
import { showListAsOf } from "./trace-list.js";

const LIST_EVERY_MS = 1000;

class Refresh {
  constructor(page) {
    Object.assign(this, {
      page,
      from: new URLSearchParams(location.search).get("from"), // the page of the list that was asked for
      panel: page.querySelector("#trace-panel"),
      list: page.querySelector("#trace-list"),
      shown: this.print(page),
    });
    this.listed = page.dataset.tab === "list" ? page.trace.now_ms : null;
    this.markList();
    this.asOf();
    page.addEventListener("moment", () => this.asOf());
    page.addEventListener("select", () => this.selected());
    page.addEventListener("trace", () => this.changed());
    page.addEventListener("tab", () => this.fetchList());
    page.addEventListener("tab", () => this.asOf());
  }

  // What the panel shows of the trace, to see whether it is stale.
  print(page) {
    const { event, group } = page.selection;
    const found = page.trace.events.find((one) => one.id === event);
    return JSON.stringify(
      found ? [eventKey(found), found.lanes.filter((lane) => !group || lane.group === group)] : null,
    );
  }

  changed() {
    if (this.print(this.page) !== this.shown) this.fetchPanel();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fetchList(), LIST_EVERY_MS);
  }

  selected() {
    this.markList();
    if (this.page.dataset.tab === "list") this.list.querySelector(".current")?.scrollIntoView({ block: "nearest" });
    this.fetchPanel();
  }

  asOf() {
    if (this.page.dataset.tab === "list") showListAsOf(this.list, this.page.shown);
  }

  fetchPanel() {
    const { event, group } = this.page.selection;
    if (!event) return;
    this.shown = this.print(this.page);
    const query = new URLSearchParams({ event, group, view: this.page.dataset.tab });
    fetchPart(`${this.page.dataset.panelUrl}?${query}`, this.panel);
  }

  fetchList() {
    if (this.page.dataset.tab !== "list" || this.listed === this.page.trace.now_ms) return;
    this.listed = this.page.trace.now_ms;
    const query = new URLSearchParams({ event: this.page.selection.event });
    if (this.from !== null) query.set("from", this.from);
    fetchPart(`${this.page.dataset.listUrl}?${query}`, this.list).then(() => {
      this.markList();
      this.asOf();
    });
  }

  markList() {
    const { event, group } = this.page.selection;
    for (const link of this.list.querySelectorAll("[data-pick]")) {
      const query = new URL(link.href).searchParams;
      const here = query.get("event") === event && (query.get("group") ?? "") === group;
      link.closest("tr").classList.toggle("current", here);
    }
  }
}

const page = document.querySelector("trace-page");
if (page) new Refresh(page);
