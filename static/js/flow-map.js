// <flow-map>: who publishes, who consumes, what they publish in turn. Cards stay where they are; a click follows a path.
import { h, Keyed, set, svg } from "./dom.js";
import { curve, curveBack, extent, FlowLayout } from "./flow-layout.js";
import { makeCard, updateCard } from "./map-card.js";
import { around, MAP, mapOf, mapShape } from "./map-model.js";

class FlowMap extends HTMLElement {
  #columns = new Map();
  #layout = null;
  #fitted = "";
  #focus = new URLSearchParams(location.search).get("focus");

  connectedCallback() {
    this.page = this.closest("overview-page");
    this.edges = svg("svg", { class: "edges", "aria-hidden": "true" });
    this.nodes = h("div", { class: "nodes" });
    this.scene = h("div", { class: "scene" }, this.edges, this.nodes);
    this.append(this.scene);
    this.cardNodes = new Keyed(this.nodes, makeCard, (node, card) => this.#place(node, card));
    this.edgeNodes = new Keyed(this.edges, () => svg("path", { class: "edge" }), drawEdge);
    this.addEventListener("click", (click) => this.#click(click));
    this.addEventListener("keydown", (press) => press.key === "Escape" && this.#follow(null));
    this.addEventListener("pointerleave", () => this.#show());
    new ResizeObserver(() => this.#show()).observe(this);
    this.page.addEventListener("overview", () => this.#show());
    this.page.addEventListener("click", (click) => {
      if (!click.target.closest("[data-unfollow]")) return;
      click.preventDefault();
      this.#follow(null);
    });
    this.#show();
  }

  // Nothing moves under the pointer: what is new waits until it has left, numbers don't.
  #show() {
    const fresh = mapOf(this.page.overview, this.#columns);
    const print = fresh.cards.map((card) => [card.key, ...card.rows.map((row) => row.key)].join()).join();
    if (this.map && print !== this.print && this.matches(":hover")) return;
    this.map = fresh;
    this.print = print;
    this.#fit(Math.max(...fresh.cards.map((card) => card.depth)));
    this.places = this.#layout.place(fresh.cards);
    const { width, height } = extent(this.places);
    this.scene.style.width = `${width + 2}px`;
    this.scene.style.height = `${height + 2}px`;
    this.cardNodes.show(fresh.cards);
    this.edgeNodes.show(fresh.edges.map((edge) => this.#edge(edge)));
    this.#mark();
  }

  // Placed anew only when the number of columns or the room for them has changed.
  #fit(columns) {
    const style = getComputedStyle(this);
    const room = this.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - 2;
    const fitted = `${columns} ${room}`;
    if (this.#layout && (fitted === this.#fitted || room <= 0)) return;
    this.#fitted = fitted;
    this.#layout = new FlowLayout(mapShape(columns, room));
  }

  #place(node, card) {
    const { x, y, width, height } = this.places.get(card.key);
    node.style.transform = `translate(${x}px, ${y}px)`;
    node.style.width = `${width}px`;
    node.style.height = `${height}px`;
    updateCard(node, card);
  }

  #edge(edge) {
    const cardKey = edge.card ? `topic ${edge.card}` : edge.from;
    const from = this.places.get(cardKey);
    const to = this.places.get(edge.to);
    const { rows } = this.map.cards.find((card) => card.key === cardKey);
    const row = rows.findIndex((one) => one.key === edge.from);
    const y = from.y + (row < 0 ? MAP.small / 2 : MAP.head + MAP.row * (row + 0.5));
    const back = to.x <= from.x;
    const path = back ? curveBack(from, y, to, to.y + MAP.head / 2) : curve(from.x + from.width, y, to.x, to.y + MAP.head / 2);
    return { ...edge, back, worst: rows[row]?.worst, path };
  }

  #click(click) {
    const button = click.target.closest("[data-node]");
    if (!button && !click.target.closest("a")) this.#follow(null);
    else if (button) this.#follow(button.dataset.node === this.#focus ? null : button.dataset.node);
  }

  #follow(key) {
    this.#focus = key;
    const address = new URL(location);
    if (key) address.searchParams.set("focus", key);
    else address.searchParams.delete("focus");
    history.replaceState(null, "", address);
    this.#mark();
    this.page.dispatchEvent(new Event("follow"));
  }

  #mark() {
    const known =
      this.#focus &&
      this.map.cards.some((card) => card.key === this.#focus || card.rows.some((row) => row.key === this.#focus));
    const lit = known ? around(this.#focus, this.map) : null;
    this.classList.toggle("following", Boolean(lit));
    for (const node of this.nodes.querySelectorAll("[data-node]")) {
      node.classList.toggle("lit", Boolean(lit?.has(node.dataset.node)));
      set(node, "aria-pressed", String(node.dataset.node === this.#focus));
    }
    for (const node of this.nodes.children) node.classList.toggle("lit", Boolean(lit && node.querySelector(".lit")));
    for (const edge of this.map.edges)
      this.edgeNodes.nodes.get(edge.key).classList.toggle("lit", Boolean(lit?.has(edge.from) && lit.has(edge.to)));
  }
}

function drawEdge(node, edge) {
  set(node, "d", edge.path);
  set(
    node,
    "class",
    `edge${edge.back ? " back" : ""} worst-${edge.worst ?? "well"}${edge.rate > 0.05 ? "" : " idle"}${node.classList.contains("lit") ? " lit" : ""}`,
  );
  node.style.strokeWidth = `${(1.25 + Math.log10(1 + edge.rate) * 1.6).toFixed(2)}px`;
}

customElements.define("flow-map", FlowMap);
