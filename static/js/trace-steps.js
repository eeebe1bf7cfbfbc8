// A trace as a sequence: who hands what to whom, row by row, no effect above its cause. Knows no DOM.
import { laneKey, title } from "./trace-model.js";
import { look } from "./words.js";

// → {lifelines: [{key, kind, name}], steps: [{key, kind, from, to, at, row, …}], runs: [{key, line, level, first, last, state}]}
// A step's `at` is its own moment, but never before the step that led to it, whatever the clocks said; steps of one
// moment stay in the order in which they were told, which is causes first.
export function sequence(cards) {
  const told = { steps: [], runs: [], lines: new Map() };
  for (const card of cards) if (!card.parent) tellEvent(told, card, 0);
  const steps = told.steps.sort((a, b) => a.at - b.at || a.order - b.order);
  steps.forEach((step, row) => (step.row = row));
  return { steps, runs: levels(told.runs), lifelines: lifelines(steps) };
}

function add(told, step) {
  step.order = told.steps.length;
  told.steps.push(step);
  return step;
}

function tellEvent(told, card, least) {
  const { event } = card;
  const at = Math.max(event.at_ms ?? least, least);
  const from = event.cause ? `group ${event.cause.group}` : `source ${event.source || "unnamed"}`;
  const words = card.kind === "fold" ? `× ${card.events.length} more ${title(event)}` : title(event);
  const step = { key: card.key, kind: card.kind === "fold" ? "fold" : "published", card, event, at, words };
  if (isUnknown(event)) add(told, { ...step, kind: "ghost", from: "source before retention", to: null, words: "before retention" });
  else add(told, { ...step, from, to: `topic ${event.topic}` });
  const left = new Set(card.children);
  for (const lane of card.lanes) tellLane(told, card, lane, at, left);
  for (const child of left) tellEvent(told, child, at);
}

function isUnknown(event) {
  return event.ghost && !event.topic;
}

function tellLane(told, card, lane, at, left) {
  const { event } = card;
  const line = `group ${lane.group}`;
  const base = { card, event, lane, group: lane.group };
  const key = laneKey(card, lane.group);
  let last = at;
  lane.attempts.forEach((attempt, index) => {
    const name = `${key} ${index}`;
    const words = attempt.number > 1 || index ? `attempt ${attempt.number}` : title(event);
    const begin = Math.max(attempt.started_ms ?? last, last);
    const taken = add(told, { ...base, key: `${name} taken`, kind: "taken", from: `topic ${event.topic}`, to: line, at: begin, words });
    const run = { key: name, line, state: attempt.state, first: taken, last: null, event, group: lane.group };
    told.runs.push(run);
    for (const child of publishedBy(lane, index, left)) {
      left.delete(child);
      tellEvent(told, child, begin);
    }
    last = begin;
    if (!attempt.ended_ms && attempt.state === "running") return;
    last = Math.max(attempt.ended_ms ?? begin, begin);
    run.last = add(told, { ...base, key: `${name} ended`, kind: "ended", attempt, from: line, to: line, at: last, ...ending(lane, attempt, index) });
  });
  if (!lane.attempts.length || endsOtherwise(lane))
    add(told, { ...base, key: `${key} state`, kind: "state", from: line, to: line, at: Math.max(lane.settled_ms ?? last, last), words: lane.label, state: look(lane) });
}

// Dead and succeeded are told by the attempt that ended so; what else a lane may be has a row of its own.
function endsOtherwise(lane) {
  return !["succeeded", "dead", "running", "retrying"].includes(lane.state);
}

function ending(lane, attempt, index) {
  const isLast = index === lane.attempts.length - 1;
  if (attempt.state === "succeeded") return { state: look(lane), words: "succeeded" };
  if (attempt.state !== "failed") return { state: "waiting", words: attempt.state };
  return { state: isLast && lane.state === "dead" ? "dead" : "retrying", words: attempt.error || "failed" };
}

// The events that an attempt published. Numbers begin anew after a replay, so of equal ones the latest that fits.
function publishedBy(lane, index, left) {
  const fits = (attempt, child) =>
    attempt.number === child.event.cause.attempt && (attempt.started_ms ?? 0) <= (child.event.at_ms ?? 0);
  return [...left].filter((child) => {
    if (child.via !== lane.group) return false;
    const at = lane.attempts.findLastIndex((attempt) => fits(attempt, child));
    return at === index || (at < 0 && index === lane.attempts.length - 1);
  });
}

function lifelines(steps) {
  const found = new Map();
  for (const step of steps)
    for (const key of [step.from, step.to])
      if (key && !found.has(key)) {
        const [kind] = key.split(" ", 1);
        found.set(key, { key, kind, name: key.slice(kind.length + 1), at: found.size });
      }
  return [...found.values()];
}

// Runs of one group that overlap stand beside each other.
function levels(runs) {
  const ends = new Map();
  for (const run of [...runs].sort((a, b) => a.first.row - b.first.row)) {
    const taken = ends.get(run.line) ?? ends.set(run.line, []).get(run.line);
    const free = taken.findIndex((end) => end <= run.first.row);
    run.level = free < 0 ? taken.length : free;
    taken[run.level] = run.last?.row ?? Infinity;
  }
  return runs;
}
