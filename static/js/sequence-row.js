// One row of the sequence, an arrow or an end, and the bars of attempts behind the rows.
import { changeIcon, h, icon, set, text } from "./dom.js";
import { duration } from "./words.js";

export const ROW = 30;
const COLUMN = { least: 112, most: 168 };
export const GUTTER = 84;
const LINE_Y = 21; // of an arrow, within its row
const BAR = 8;
const LEVEL = 5;
const ROOM = 2.4; // columns that an ending's words may take

// As wide as fits, within reason; more lifelines than that scroll.
export function columnWidth(width, lifelines) {
  return Math.round(Math.min(COLUMN.most, Math.max(COLUMN.least, (width - GUTTER - 40) / Math.max(1, lifelines))));
}

export function makeStep(step) {
  const button = h(
    "button",
    { type: "button", class: "seq-step", tabindex: -1 },
    h("span", { class: "seq-at num" }),
    h("i", { class: "seq-arrow" }),
    h("span", { class: "seq-words" }, step.state ? icon("state-waiting") : null, h("span", { class: "cut" })),
  );
  return h("div", { class: "seq-row", role: "listitem", "data-step-key": step.key }, button);
}

export function updateStep(node, step, view) {
  const button = node.firstChild;
  const [at, arrow, words] = button.children;
  const later = step.row >= view.until;
  node.style.transform = `translateY(${step.row * ROW}px)`;
  node.className = `seq-row seq-${step.kind}${later ? " later" : ""}`;
  const current = view.isCurrent(step);
  set(node, "aria-current", current ? "true" : null);
  set(button, "tabindex", current || step.row === 0 ? 0 : -1);
  set(button, "title", [step.words, sentence(step), step.lane?.note].filter(Boolean).join("\n"));
  set(button, "aria-label", `${sentence(step)}, after ${duration(step.at - view.start)}`);
  text(at, `+${duration(step.at - view.start)}`);
  set(words, "class", `seq-words${step.state ? ` state-${step.state}` : ""}`);
  if (step.state) changeIcon(words, `state-${step.state}`);
  text(words.lastChild, said(step));
  place(step, view, arrow, words);
}

function said(step) {
  const ran = step.kind === "ended" && step.attempt.duration_us ? duration(step.attempt.duration_us / 1000) : "";
  if (step.kind === "ended" && step.attempt.state === "succeeded") return ran || "succeeded";
  if (step.kind === "fold" && step.card.open) return `fold ${step.card.events.length} ${step.event.type}`;
  return step.words;
}

function place({ kind, from, to }, view, arrow, words) {
  const [a, b] = [view.x(from), view.x(to ?? from)];
  const left = Math.min(a, b);
  const flat = a === b;
  set(arrow, "class", `seq-arrow${flat ? " seq-none" : b > a ? " seq-right" : " seq-left"}`);
  arrow.style.left = `${left + (b > a ? 0 : 5)}px`;
  arrow.style.width = `${Math.max(0, Math.abs(b - a) - 5)}px`;
  words.style.left = flat ? `${a + BAR + 6}px` : `${left + 10}px`;
  words.style.maxWidth = flat ? `${view.column * ROOM}px` : `${Math.abs(b - a) - 22}px`;
  words.classList.toggle("seq-aside", flat);
  arrow.dataset.kind = kind;
}

function sentence(step) {
  const name = (key) => key?.slice(key.indexOf(" ") + 1);
  const type = step.event.type || "an event";
  if (step.kind === "published") return `${name(step.from)} published ${type} on ${name(step.to)}`;
  if (step.kind === "fold") return `${name(step.from)} published ${step.card.events.length} more ${type} on ${name(step.to)}`;
  if (step.kind === "taken") return `${name(step.to)} took ${type}, ${step.words.startsWith("attempt") ? step.words : "attempt 1"}`;
  if (step.kind === "ghost") return "An event from before retention";
  return `${name(step.from)}, ${type}: ${step.words}`;
}

export function makeRun() {
  return h("i", { class: "seq-run" });
}

export function updateRun(node, run, view) {
  const top = run.first.row * ROW + LINE_Y;
  const until = Math.min(run.last?.row ?? Infinity, view.until - 1, view.told.steps.length - 1);
  const open = !run.last || run.last.row >= view.until;
  set(node, "class", `seq-run part-${open ? "running" : run.state}${run.first.row >= view.until ? " later" : ""}`);
  node.style.left = `${view.x(run.line) - BAR / 2 + run.level * LEVEL}px`;
  node.style.top = `${top}px`;
  node.style.height = `${Math.max(6, until * ROW + LINE_Y - top)}px`;
}
