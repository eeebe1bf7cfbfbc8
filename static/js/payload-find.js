// The search above a payload: paths and values that contain what was typed, as one flat list.
import { h, text } from "./dom.js";
import { Written } from "./payload-numbers.js";
import { plural } from "./words.js";

const WORTH_IT = 8; // values: a smaller payload is read at a glance
const MOST_SHOWN = 100;
const MOST_LOOKED_AT = 20_000;

// `all()` makes the whole tree, `hit(path, value)` one line, `show(nodes)` puts them in the tree's place.
export function finder(data, { all, hit, show }) {
  const leaves = [...walk(data, "")].slice(0, MOST_LOOKED_AT);
  const box = h("input", { type: "search", placeholder: "find a name or value", "aria-label": "Find in the payload" });
  const note = h("span", { class: "note", role: "status" });
  box.addEventListener("input", () => {
    const wanted = box.value.trim().toLowerCase();
    const found = wanted ? leaves.filter(([path, value]) => `${path} ${said(value)}`.toLowerCase().includes(wanted)) : [];
    text(note, wanted ? plural(found.length, "value") : "");
    show(wanted ? found.slice(0, MOST_SHOWN).map(([path, value]) => hit(path, value)) : all());
  });
  return h("div", { class: "tree-find", hidden: leaves.length < WORTH_IT ? "" : null }, box, note);
}

function said(value) {
  return value instanceof Written ? value.source : JSON.stringify(value);
}

function* walk(value, path) {
  const names = value && typeof value === "object" && !(value instanceof Written) ? Object.keys(value) : [];
  if (!names.length) yield [path, value];
  for (const name of names) yield* walk(value[name], step(path, name, value));
}

function step(path, name, parent) {
  if (Array.isArray(parent)) return `${path}[${name}]`;
  if (!/^[A-Za-z_]\w*$/.test(name)) return `${path}[${JSON.stringify(name)}]`;
  return path ? `${path}.${name}` : name;
}
