// <flow-graph>: a trace from left to right: an event, who got it and how that went, what they published in turn.
import { showTimes } from "./clock.js";
import { h, Keyed, set, svg } from "./dom.js";
import { makeCard, updateCard } from "./flow-card.js";
import { extent, FlowLayout } from "./flow-layout.js";
import { edges, inView, viewOf } from "./flow-view.js";
import { MiniMap } from "./mini-map.js";
import { panAndZoom } from "./pan-zoom.js";
import { neighbour } from "./trace-keys.js";
import { cards, foldsAround, pathTo, stops, worstOf } from "./trace-model.js";

class FlowGraph extends HTMLElement {
  #layout = new FlowLayout();
  #troubled = new Set();
  #cards = [];
  #stops = [];
  #drawn = null;
  #selected = null;
  #path = new Set();

  connectedCallback() {
    this.page = this.closest("trace-page");
    this.#build();
    for (const name of ["trace", "moment", "fold", "tab"]) this.page.addEventListener(name, () => this.#show());
    this.page.addEventListener("select", () => this.#reveal());
    this.addEventListener("click", (click) => this.#click(click));
    this.addEventListener("keydown", (press) => this.#press(press));
    document.addEventListener("keydown", (press) => this.#enter(press));
    this.#show();
    if (new URLSearchParams(location.search).has("event")) this.#reveal();
  }

  #build() {
    this.edges = svg("svg", { class: "edges", "aria-hidden": "true" });
    this.nodes = h("div", { class: "nodes", role: "group", "aria-label": "Events and groups; arrow keys move" });
    this.scene = h("div", { class: "scene" }, this.edges, this.nodes);
    this.scroller = h("div", { class: "scroller" }, this.scene);
    this.mini = new MiniMap(this.scroller, this.scene);
    const tools = panAndZoom(this.scroller, this.scene, () => this.#tidy());
    this.append(this.scroller, this.mini.canvas, tools);
    this.cardNodes = new Keyed(this.nodes, makeCard, (node, item) => this.#place(node, item));
    this.edgeNodes = new Keyed(this.edges, () => svg("path", { class: "edge" }), drawEdge);
    this.scroller.addEventListener("scroll", () => this.#moved(), { passive: true });
    new ResizeObserver(() => this.#draw()).observe(this.scroller);
  }

  #show() {
    if (this.page.dataset.tab !== "flow") return;
    const { shown, unfolded } = this.page;
    this.#cards = cards(shown, unfolded, this.#troubled);
    this.#stops = stops(this.#cards);
    this.#findSelected();
    this.places = this.#layout.place(this.#cards);
    this.start = shown.events[0].at_ms ?? shown.events.find((event) => event.at_ms)?.at_ms;
    const { width, height } = extent(this.places);
    this.scene.style.width = `${width + 48}px`;
    this.scene.style.height = `${height + 48}px`;
    this.mini.show(this.#cards.map((card) => ({ ...this.places.get(card.key), state: worstOf(card) })));
    this.#draw();
    showTimes(this.nodes);
  }

  // Only what is in view, a little around it, and what is selected or has the focus, is in the page.
  #draw({ fresh = false } = {}) {
    if (!this.places || !this.scroller.clientWidth) return;
    const view = viewOf(this.scroller, this.scene);
    this.#path = pathTo(this.#selected);
    const held = new Set([this.#selected?.card.key, document.activeElement?.closest("[data-key]")?.dataset.key]);
    const seen = (card) => held.has(card.key) || inView(this.places.get(card.key), view);
    this.#drawn = view;
    this.cardNodes.show(this.#cards.filter(seen), { fresh });
    this.edgeNodes.show(edges(this.#cards, this.places, view));
    this.#markEdges();
  }

  #moved() {
    if (this.#drawn?.holds(this.scroller, this.scene)) return;
    this.#draw({ fresh: true });
    showTimes(this.nodes);
  }

  #place(node, card) {
    const { x, y, height } = this.places.get(card.key);
    node.style.transform = `translate(${x}px, ${y}px)`;
    node.style.height = `${height}px`;
    updateCard(node, card, this.start);
    this.#markNode(node);
  }

  #tidy() {
    this.#layout.clear();
    this.#show();
  }

  #findSelected() {
    const { event, group } = this.page.selection;
    const here = (stop) => stop.card.event.id === event && stop.card.kind === "event";
    this.#selected = this.#stops.find((stop) => here(stop) && (stop.group ?? "") === (group ?? ""));
  }

  #markNode(node) {
    const focus = this.#selected ?? this.#stops[0];
    for (const button of node.querySelectorAll("[data-stop]")) {
      const { stop } = button.dataset;
      set(button, "aria-current", stop === this.#selected?.key ? "true" : null);
      set(button, "tabindex", stop === focus?.key ? 0 : -1);
      button.classList.toggle("on-path", this.#path.has(stop));
    }
  }

  #markEdges() {
    for (const [key, edge] of this.edgeNodes.nodes) {
      const on = this.#path.has(key);
      if (on !== edge.classList.contains("on-path") && edge.classList.toggle("on-path", on)) this.edges.append(edge);
    }
  }

  // What is selected from elsewhere may be folded away: unfold down to it.
  #reveal() {
    this.#findSelected();
    for (let folds = []; !this.#selected; ) {
      folds = foldsAround(this.#cards, this.page.shown, this.page.selection.event);
      if (!folds.length) break;
      for (const key of folds) this.page.unfold(key);
      if (this.page.dataset.tab !== "flow") return;
    }
    this.#draw();
    if (this.page.dataset.tab === "flow" && this.#selected)
      this.#node(this.#selected)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  #node(stop) {
    return this.nodes.querySelector(`[data-stop="${CSS.escape(stop.key)}"]`);
  }

  #click(click) {
    const button = click.target.closest("[data-stop]");
    const stop = button && this.#stops.find((one) => one.key === button.dataset.stop);
    if (!stop) return;
    if (stop.card.kind === "fold") this.page[stop.card.open ? "fold" : "unfold"](stop.key);
    else this.page.select(stop.card.event.id, stop.group ?? "");
  }

  #press(press) {
    const at = this.#stops.findIndex((stop) => stop.key === document.activeElement?.dataset.stop);
    const to = at < 0 ? null : neighbour(this.#stops, at, press.key);
    if (!to) return;
    press.preventDefault();
    if (!this.#node(to)) this.cardNodes.show([...this.cardNodes.items, to.card]);
    this.#node(to)?.focus();
  }

  // j and k enter the graph from wherever the focus is.
  #enter(press) {
    if (!["j", "k"].includes(press.key) || press.defaultPrevented || this.page.dataset.tab !== "flow") return;
    if (press.target.closest("input, select, dialog[open], flow-graph")) return;
    this.nodes.querySelector('[data-stop][tabindex="0"]')?.focus();
  }
}

function drawEdge(node, { path, later }) {
  set(node, "d", path);
  node.classList.toggle("later", later);
}

customElements.define("flow-graph", FlowGraph);
