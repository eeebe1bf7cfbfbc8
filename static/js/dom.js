// Makes and updates elements. Text goes in as text: nothing here parses HTML, except `fromHtml`, for rows that the server rendered.
const SVG = "http://www.w3.org/2000/svg";
const sprite = document.documentElement.dataset.icons;

export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) set(node, name, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Writes only what differs: an untouched attribute costs no style or layout work.
export function set(node, name, value) {
  if (!node) return;
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

export function text(node, value) {
  const words = String(value ?? "");
  if (node.textContent !== words) node.textContent = words;
}

export function icon(name) {
  return svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `${sprite}#${name}` }));
}

export function changeIcon(node, name) {
  set(node.querySelector("use"), "href", `${sprite}#${name}`);
}

export function fromHtml(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

export function readJson(id) {
  const node = document.getElementById(id);
  return node ? JSON.parse(node.textContent) : null;
}

// Keeps one element per key: makes what is new, updates all, removes what is gone. Order of insertion stays.
export class Keyed {
  constructor(parent, make, update) {
    Object.assign(this, { parent, make, update, nodes: new Map() });
  }

  // `fresh`: what is there already has not changed, so only new elements are filled.
  show(items, { fresh = false } = {}) {
    this.items = items;
    const gone = new Set(this.nodes.keys());
    for (const item of items) {
      gone.delete(item.key);
      let node = this.nodes.get(item.key);
      if (node && fresh) continue;
      if (!node) {
        node = this.make(item);
        this.nodes.set(item.key, node);
        this.parent.append(node);
      }
      this.update(node, item);
    }
    for (const key of gone) {
      this.nodes.get(key).remove();
      this.nodes.delete(key);
    }
  }
}
