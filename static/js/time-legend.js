// The line above the waterfall: what the parts of a bar mean, and what part of the trace is shown.
import { h, text } from "./dom.js";
import { count } from "./words.js";

export function legend({ squeezed, squeeze, whole, selected }) {
  const box = h("input", { type: "checkbox" });
  box.checked = squeezed;
  box.addEventListener("change", () => squeeze(box.checked));
  const all = button("Whole trace", whole);
  const note = h("span", { class: "note" });
  const node = h(
    "div",
    { class: "legend note" },
    key("waiting", "waiting"),
    key("succeeded", "succeeded"),
    key("failed", "failed"),
    key("backing-off", "backing off"),
    h("span", { class: "push row-line" }, note, all, button("Zoom to selected", selected)),
    h("label", { class: "row-line" }, box, "squeeze idle gaps"),
  );
  node.show = ({ spanned, shown, of }) => {
    all.hidden = !spanned;
    text(note, spanned ? `${count(shown)} of ${count(of)} rows in this span` : "");
  };
  return node;
}

function key(kind, words) {
  return h("span", { class: "row-line" }, h("i", { class: `part part-${kind}` }), words);
}

function button(words, act) {
  const node = h("button", { type: "button", class: "button small" }, words);
  node.addEventListener("click", act);
  return node;
}
