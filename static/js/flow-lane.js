// One lane as a row: icon, group, word, attempts as marks, and how long or until when.
import { changeIcon, h, icon, set, text } from "./dom.js";
import { duration, isTrouble, look } from "./words.js";

const MARKS = 6; // attempts drawn; the label has the exact numbers
export function makeLane({ stop }) {
  return h(
    "button",
    { type: "button", class: "lane", "data-stop": stop, tabindex: -1 },
    icon("state-waiting"),
    h("span", { class: "lane-group cut" }),
    h("span", { class: "lane-word" }),
    h("span", { class: "marks", "aria-hidden": "true" }),
    h("span", { class: "lane-detail num cut" }),
  );
}

export function updateLane(row, { lane, causes }) {
  const name = look(lane);
  const before = row.dataset.look;
  const [, group, word, marks, detail] = row.children;
  row.dataset.look = name;
  row.className = `lane state-${name}${causes ? " causes" : ""}`;
  if (before && before !== name && row.animate) flash(row);
  changeIcon(row, `state-${name}`);
  text(group, lane.group);
  text(word, short(lane));
  showMarks(marks, lane);
  showDetail(detail, lane);
  set(row, "title", [`${lane.group}: ${lane.label}`, lane.note].filter(Boolean).join("\n"));
}

// The row is narrow: the number of retries is in its marks and its title.
function short(lane) {
  return lane.state === "succeeded" ? "Succeeded" : lane.label;
}

function showMarks(marks, lane) {
  const states = lane.attempts.slice(-MARKS).map((attempt) => `a-${attempt.state}`);
  const allowed = lane.state === "succeeded" ? 0 : Math.min(MARKS, lane.attempts_allowed ?? 0);
  const left = Math.max(0, allowed - states.length);
  const wanted = lane.attempts.length > 1 || isTrouble(lane) ? [...states, ...Array(left).fill("a-left")] : [];
  while (marks.childElementCount > wanted.length) marks.lastChild.remove();
  while (marks.childElementCount < wanted.length) marks.append(h("i"));
  wanted.forEach((name, at) => set(marks.children[at], "class", name));
}

function showDetail(node, lane) {
  const running = lane.state === "running" && !lane.asOf ? (lane.attempts.at(-1)?.started_ms ?? lane.delivered_ms) : null;
  set(node, "data-due", lane.state === "retrying" && lane.due_ms ? lane.due_ms : null);
  set(node, "data-since", running);
  if (node.dataset.due || running) return; // the clock writes these
  const past = lane.asOf && lane.state === "running" && lane.asOf - (lane.attempts.at(-1)?.started_ms ?? lane.asOf);
  if (past) return text(node, duration(past));
  text(node, lane.duration_us ? duration(lane.duration_us / 1000) : lane.state === "waiting" ? lane.note : "");
}

function flash(row) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  row.animate([{ backgroundColor: "color-mix(in srgb, currentColor 22%, transparent)" }, {}], {
    duration: 700,
    easing: "ease-out",
  });
}
