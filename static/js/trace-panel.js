// The side panel and the list: server-rendered, fetched again when what they show has changed.
import { fetchPart } from "./fetch-part.js";
import { eventKey } from "./trace-model.js";

const LIST_EVERY_MS = 1000;

class Refresh {
  constructor(page) {
    Object.assign(this, {
      page,
      panel: page.querySelector("#trace-panel"),
      list: page.querySelector("#trace-list"),
      shown: this.print(page),
    });
    this.listed = page.trace.now_ms;
    this.markList();
    page.addEventListener("select", () => this.selected());
    page.addEventListener("trace", () => this.changed());
    page.addEventListener("tab", () => this.fetchList());
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
    this.fetchPanel();
  }

  fetchPanel() {
    const { event, group } = this.page.selection;
    if (!event) return;
    this.shown = this.print(this.page);
    const query = new URLSearchParams({ event, group, tab: this.page.dataset.tab });
    fetchPart(`${this.page.dataset.panelUrl}?${query}`, this.panel);
  }

  fetchList() {
    if (this.page.dataset.tab !== "list" || this.listed === this.page.trace.now_ms) return;
    this.listed = this.page.trace.now_ms;
    fetchPart(this.page.dataset.listUrl, this.list).then(() => this.markList());
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
