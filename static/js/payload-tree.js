// <payload-tree>: JSON as a tree that opens lazily; a click on a name copies its path. Without scripts the text stays.
import { h, icon } from "./dom.js";
import { copy } from "./copy.js";
import { finder } from "./payload-find.js";
import { asWritten, Written } from "./payload-numbers.js";

const OPEN_DEPTH = 2;
const PAGE = 100;
const LONG = 600;
const MASK = "•••";

class PayloadTree extends HTMLElement {
  connectedCallback() {
    this.build();
  }

  build() {
    const source = this.querySelector("pre");
    if (!source || this.querySelector(".tree")) return;
    try {
      const data = JSON.parse(source.textContent, asWritten);
      if (data === null || typeof data !== "object") return;
      const show = (found) => this.querySelector(".tree").replaceChildren(...found);
      this.append(finder(data, { all: () => members(data, "", 0), hit: (path, value) => leaf(path, value, path), show }));
      this.append(h("div", { class: "tree", role: "group", "aria-label": "Payload" }, ...members(data, "", 0)));
      source.hidden = true;
    } catch {
      source.hidden = false; // not JSON: shown as it came
    }
  }
}

function members(data, path, depth, from = 0) {
  const names = Array.isArray(data) ? [...data.keys()] : Object.keys(data);
  const shown = names.slice(from, from + PAGE).map((name) => member(name, data[name], join(path, name, data), depth));
  const left = names.length - from - PAGE;
  return left > 0 ? [...shown, more(left, () => members(data, path, depth, from + PAGE))] : shown;
}

function more(left, next) {
  const button = h("button", { type: "button", class: "link" }, `${left} more`);
  button.addEventListener("click", () => button.replaceWith(...next()));
  return button;
}

function join(path, name, data) {
  if (Array.isArray(data)) return `${path}[${name}]`;
  if (!/^[A-Za-z_]\w*$/.test(name)) return `${path}[${JSON.stringify(name)}]`;
  return path ? `${path}.${name}` : name;
}

function member(name, value, path, depth) {
  const nested = value !== null && typeof value === "object" && !(value instanceof Written);
  return nested ? branch(name, value, path, depth) : leaf(name, value, path);
}

function copier(path, look, ...inside) {
  const button = h("button", { type: "button", class: look, title: `Copy the path ${path}` }, ...inside);
  button.addEventListener("click", () => copy(path));
  return button;
}

// What was masked before it was stored, wherever in the text it stands.
function isMasked(value) {
  return typeof value === "string" && value.includes(MASK);
}

function leaf(name, value, path) {
  const words = value instanceof Written ? value.source : JSON.stringify(value);
  const kind = value === null ? "null" : value instanceof Written ? "number" : typeof value;
  const cut = words.length > LONG ? `${words.slice(0, LONG)}… (${words.length} characters)` : words;
  return h(
    "div",
    { class: "leaf" },
    copier(path, "name", String(name)),
    isMasked(value)
      ? h("span", { class: "value masked", title: "masked before it was stored" }, icon("masked"), cut)
      : h("span", { class: `value value-${kind}` }, cut),
  );
}

function branch(name, value, path, depth) {
  const size = Array.isArray(value) ? `[${value.length}]` : `{${Object.keys(value).length}}`;
  const node = h(
    "details",
    {},
    h("summary", {}, h("span", { class: "name" }, String(name)), h("span", { class: "muted" }, size)),
  );
  const fill = () =>
    node.childElementCount > 1 || node.append(h("div", { class: "inner" }, ...members(value, path, depth + 1)));
  node.addEventListener("toggle", fill);
  if (depth < OPEN_DEPTH) {
    fill();
    node.open = true;
  }
  const copies = copier(path, "icon-button small copy-path", icon("copy"));
  copies.setAttribute("aria-label", copies.title);
  return h("div", { class: "branch" }, node, copies);
}

customElements.define("payload-tree", PayloadTree);
