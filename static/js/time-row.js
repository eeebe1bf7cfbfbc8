// One row of the waterfall and the axis above: names at the left, bars where the scale says.
import { changeIcon, h, icon, set, text } from "./dom.js";
import { duration, look } from "./words.js";

export const ROW = 24;
const TICK_SHARE = 0.09; // of the width, so that two labels never touch
const TICK_PIXELS = 80; // what the longest words on the axis take
const BESIDE_AXIS = 380; // names at the left and the room at the right, as in trace.css
const INDENT = 12;

export function makeRow(row) {
  const mark = row.lane ? icon("state-waiting") : h("i", { class: "moment" });
  const name = h("button", { type: "button", class: "time-name event" }, mark, h("span", { class: "cut" }));
  const area = h("div", { class: "time-area" }, h("i", { class: row.lane ? "bar-text" : "moment" }));
  return h("div", { class: "time-row", role: "listitem", "data-key": row.key }, name, area);
}

export function updateRow(node, row, scale, { event, group }) {
  const [name, area] = node.children;
  node.style.transform = `translateY(${row.at_row * ROW}px)`;
  name.style.paddingInlineStart = `${INDENT * (1 + Math.min(row.depth, 12))}px`;
  set(node, "class", row.event.later ? "time-row later" : "time-row");
  set(node, "aria-current", event === row.event.id && group === (row.lane?.group ?? "") ? "true" : null);
  text(name.querySelector(".cut"), row.label);
  set(name, "title", row.lane ? `${row.label}: ${row.lane.label}` : row.label);
  if (!row.lane) return move(area.firstChild, scale.at(row.at ?? scale.start));
  const state = look(row.lane);
  set(name, "class", `time-name state-${state}`);
  changeIcon(name, `state-${state}`);
  showParts(area, row, scale);
}

// The first child is the text behind the bars; the bars follow it.
function showParts(area, row, scale) {
  while (area.childElementCount > row.parts.length + 1) area.lastChild.remove();
  while (area.childElementCount < row.parts.length + 1) area.append(h("i"));
  row.parts.forEach((part, index) => showPart(area.children[index + 1], part, scale));
  const attempts = row.parts.filter((part) => part.number);
  const ran = attempts.reduce((sum, part) => sum + part.ms, 0);
  text(area.firstChild, attempts.length ? duration(ran) : row.lane.note);
  move(area.firstChild, scale.at(row.parts.at(-1)?.to ?? row.at));
}

function showPart(node, part, scale) {
  const from = scale.at(part.from);
  const what = part.number ? `attempt ${part.number} ${part.kind}` : part.kind.replace("-", " ");
  set(node, "class", `part part-${part.kind}`);
  set(node, "title", [what, duration(part.ms ?? part.to - part.from), part.error].filter(Boolean).join("\n"));
  const [left, right] = [Math.max(-1, from), Math.min(2, scale.at(part.to))];
  move(node, left).style.width = `max(2px, ${(right - left) * 100}%)`;
}

// The moment that is shown, while the trace is played.
export function showCursor(cursor, scale, at) {
  const x = at === null ? -1 : scale.at(at);
  cursor.hidden = x < 0 || x > 1;
  cursor.querySelector("i").style.left = `${x * 100}%`;
}

export function showAxis(axis, { pieces, start }) {
  const from = (pieces[0]?.from ?? start) - start;
  const nodes = [h("span", { class: "tick" }, from > 0 ? duration(from) : "0")];
  const room = Math.max(TICK_SHARE, TICK_PIXELS / Math.max(1, axis.clientWidth - BESIDE_AXIS));
  let free = room;
  for (const piece of pieces) {
    const x = piece.squeezed ? piece.x + piece.w / 2 : piece.x + piece.w;
    if (piece.squeezed) nodes.push(band(piece));
    if (x < free) continue;
    nodes.push(move(tick(piece, start), x));
    free = x + room;
  }
  axis.replaceChildren(h("div", { class: "axis-area" }, ...nodes));
}

function tick(piece, start) {
  const span = duration(piece.to - piece.from);
  if (piece.squeezed) return h("span", { class: "tick gap", title: `${span} in which nothing ran` }, `⋯ ${span}`);
  return h("span", { class: "tick" }, duration(piece.to - start));
}

function band(piece) {
  const node = move(h("i", { class: "squeezed" }), piece.x);
  node.style.width = `${piece.w * 100}%`;
  return node;
}

// What lies beyond a span that is looked at may be far away: far enough is enough.
function move(node, x) {
  node.style.left = `${Math.min(10, Math.max(-10, x)) * 100}%`;
  return node;
}
