// <flow-graph>: a trace from left to right: an event, who got it and how that went, what they published in turn.
import { showTimes } from "./clock.js";
import { h, Keyed, set, svg } from "./dom.js";
import { makeCard, updateCard } from "./flow-card.js";
import { CARD, elbow, extent, FlowLayout, port, turn } from "./flow-layout.js";
import { MiniMap } from "./mini-map.js";
import { panAndZoom } from "./pan-zoom.js";
import { neighbour } from "./trace-keys.js";
import { cards, foldsAround, pathTo, stops, worstOf } from "./trace-model.js";

const MOST = 300; // cards drawn; the list has all

class FlowGraph extends HTMLElement {
  #layout = new FlowLayout();
  #unfolded = new Set();
  #cards = [];
  #stops = [];

  connectedCallback() {
    this.page = this.closest("trace-page");
    this.#build();
    this.page.addEventListener("trace", () => this.#show());
    this.page.addEventListener("select", () => this.#reveal());
    this.addEventListener("click", (click) => this.#click(click));
    this.addEventListener("keydown", (press) => this.#press(press));
    document.addEventListener("keydown", (press) => this.#enter(press));
    this.#show();
  }

  #build() {
    this.edges = svg("svg", { class: "edges", "aria-hidden": "true" });
    this.nodes = h("div", { class: "nodes", role: "group", "aria-label": "Events and groups; arrow keys move" });
    this.scene = h("div", { class: "scene" }, this.edges, this.nodes);
    this.scroller = h("div", { class: "scroller" }, this.scene);
    this.notes = h("p", { class: "graph-note note", hidden: "" });
    this.mini = new MiniMap(this.scroller, this.scene);
    const tools = panAndZoom(this.scroller, this.scene, () => this.#tidy());
    this.append(this.scroller, this.notes, this.mini.canvas, tools);
    this.cardNodes = new Keyed(this.nodes, makeCard, (node, item) => this.#place(node, item));
    this.edgeNodes = new Keyed(this.edges, () => svg("path", { class: "edge" }), drawEdge);
  }

  #show() {
    const { trace } = this.page;
    const all = cards(trace, this.#unfolded);
    this.#cards = all.slice(0, MOST);
    this.#stops = stops(this.#cards);
    this.places = this.#layout.place(this.#cards);
    this.start = trace.events[0].at_ms ?? trace.events.find((event) => event.at_ms)?.at_ms;
    const { width, height } = extent(this.places);
    this.scene.style.width = `${width + 48}px`;
    this.scene.style.height = `${height + 48}px`;
    this.cardNodes.show(this.#cards);
    this.edgeNodes.show(this.#cards.filter((card) => card.parent).map((card) => this.#edge(card)));
    this.notes.hidden = all.length <= MOST;
    this.notes.textContent = `drawing ${MOST} of ${all.length} events; the list has all`;
    this.mini.show(this.#cards.map((card) => ({ ...this.places.get(card.key), state: worstOf(card) })));
    this.#mark(false);
    showTimes(this.nodes);
  }

  #place(node, card) {
    const { x, y, height } = this.places.get(card.key);
    node.style.transform = `translate(${x}px, ${y}px)`;
    node.style.height = `${height}px`;
    updateCard(node, card, this.start);
  }

  #edge(card) {
    const from = this.places.get(card.parent.key);
    const to = this.places.get(card.key);
    const [y1, y2] = [from.y + port(card.parent, card.via), to.y + CARD.head / 2];
    const path = elbow(from.x + CARD.width, y1, to.x, y2, turn(card.parent, card.via, y2 > y1));
    return { key: card.key, path };
  }

  #tidy() {
    this.#layout.clear();
    this.#show();
  }

  get #selected() {
    const { event, group } = this.page.selection;
    return this.#stops.find((stop) => stop.card.event.id === event && (stop.group ?? "") === (group ?? ""));
  }

  #mark(reveal) {
    const selected = this.#selected;
    const path = pathTo(selected);
    const focus = selected ?? this.#stops[0];
    for (const node of this.nodes.querySelectorAll("[data-stop]")) {
      const here = node.dataset.stop === selected?.key;
      set(node, "aria-current", here ? "true" : null);
      set(node, "tabindex", node.dataset.stop === focus?.key ? 0 : -1);
      node.classList.toggle("on-path", path.has(node.dataset.stop));
    }
    for (const [key, edge] of this.edgeNodes.nodes) {
      if (edge.classList.toggle("on-path", path.has(key))) this.edges.append(edge); // above the others
    }
    if (reveal && selected && !this.hidden)
      this.#node(selected)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // What is selected from elsewhere may be folded away: unfold down to it.
  #reveal() {
    for (let folds = []; !this.#selected;) {
      folds = foldsAround(this.#cards, this.page.trace, this.page.selection.event);
      if (!folds.length) break;
      for (const key of folds) this.#unfolded.add(key);
      this.#show();
    }
    this.#mark(true);
  }

  #node(stop) {
    return this.nodes.querySelector(`[data-stop="${CSS.escape(stop.key)}"]`);
  }

  #click(click) {
    const button = click.target.closest("[data-stop]");
    const stop = button && this.#stops.find((one) => one.key === button.dataset.stop);
    if (!stop) return;
    if (stop.card.kind === "fold") {
      this.#unfolded.add(stop.key);
      this.#show();
    } else this.page.select(stop.card.event.id, stop.group ?? "");
  }

  #press(press) {
    const at = this.#stops.findIndex((stop) => stop.key === document.activeElement?.dataset.stop);
    const to = at < 0 ? null : neighbour(this.#stops, at, press.key);
    if (!to) return;
    press.preventDefault();
    this.#node(to)?.focus();
  }

  // j and k enter the graph from wherever the focus is.
  #enter(press) {
    if (!["j", "k"].includes(press.key) || press.defaultPrevented || this.page.dataset.tab !== "flow") return;
    if (press.target.closest("input, select, dialog[open], flow-graph")) return;
    this.nodes.querySelector('[data-stop][tabindex="0"]')?.focus();
  }
}

function drawEdge(node, { path }) {
  set(node, "d", path);
}

customElements.define("flow-graph", FlowGraph);
