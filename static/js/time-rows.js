// A trace as waterfall rows: each lane's time split into waiting, running and backing off. Knows no DOM.
import { cards, laneKey, title } from "./trace-model.js";

const ALL = { has: () => true }; // every fold is open
const SETTLED = ["succeeded", "dead", "discarded", "skipped", "lost"];

// → [{key, depth, event, lane?, label, parts: [{kind, from, to}], at}]
export function rows(trace, now) {
  const out = [];
  const roots = cards(trace, ALL).filter((card) => !card.parent);
  for (const card of roots) addEvent(out, card, 0, now);
  return out;
}

function addEvent(out, card, depth, now) {
  const { event } = card;
  const caused = Map.groupBy(card.children.filter((child) => child.kind === "event"), (child) => child.via);
  out.push({
    key: card.key,
    depth,
    event,
    label: title(event),
    parts: [],
    at: event.at_ms,
  });
  for (const lane of card.lanes) {
    out.push({
      key: laneKey(card, lane.group),
      depth: depth + 1,
      event,
      lane,
      label: lane.group,
      parts: laneParts(event, lane, now),
      at: event.at_ms,
    });
    for (const child of caused.get(lane.group) ?? []) addEvent(out, child, depth + 2, now);
  }
  for (const child of caused.get(null) ?? []) addEvent(out, child, depth + 1, now);
}

export function laneParts(event, lane, now) {
  const parts = [];
  if (event.later) return parts;
  let at = event.at_ms;
  let pause = "waiting";
  for (const attempt of lane.attempts) {
    const from = Math.max(at, attempt.started_ms ?? at);
    if (from > at) parts.push({ kind: pause, from: at, to: from });
    const to = Math.max(from, attempt.ended_ms ?? (attempt.state === "running" ? now : from));
    const ms = attempt.state === "running" ? to - from : attempt.duration_us / 1000;
    parts.push({ kind: attempt.state, from, to, ms, error: attempt.error, number: attempt.number });
    at = to;
    pause = attempt.state === "failed" ? "backing-off" : "waiting";
  }
  const open = !SETTLED.includes(lane.state) && lane.state !== "running";
  if (open && event.at_ms) parts.push({ kind: pause, from: at, to: Math.max(at, now) });
  return parts;
}

// Squeezed scale: stretches in which no handler runs and nothing is published shrink to a sliver each.
export function scale(all, { squeeze = true } = {}) {
  const busy = all.flatMap((row) => [
    [row.at, row.at],
    ...row.parts.filter((part) => !["waiting", "backing-off"].includes(part.kind)).map((part) => [part.from, part.to]),
  ]);
  const spans = merge(busy.filter(([from]) => from));
  const latest = all.reduce((most, row) => Math.max(most, row.at ?? 0, row.parts.at(-1)?.to ?? 0), 0);
  const start = spans[0]?.[0] ?? latest;
  const end = Math.max(latest, start + 1);
  return scaleOf(piecewise(spans, start, end, squeeze), start, end);
}

function scaleOf(pieces, start, end) {
  return {
    start,
    end,
    pieces,
    at: (ms) => position(pieces, ms),
    msAt: (x) => momentAt(pieces, x),
    within: (span) => cutOut(pieces, start, span),
  };
}

// The same scale, but a part of it takes the whole width.
function cutOut(pieces, start, [from, to]) {
  const [left, right] = [position(pieces, from), position(pieces, to)];
  const wide = Math.max(1e-9, right - left);
  const inside = pieces
    .filter((piece) => piece.to > from && piece.from < to)
    .map((piece) => {
      const cut = { ...piece, from: Math.max(piece.from, from), to: Math.min(piece.to, to) };
      cut.x = (position(pieces, cut.from) - left) / wide;
      cut.w = (position(pieces, cut.to) - left) / wide - cut.x;
      return cut;
    });
  return { start, end: to, pieces: inside, at: (ms) => (position(pieces, ms) - left) / wide };
}

// Rows with something in the span, and the rows that led to them.
export function rowsWithin(all, span) {
  if (!span) return all;
  const [from, to] = span;
  let wanted = -1; // depth of the nearest row below that is kept
  const kept = [];
  for (const row of [...all].reverse()) {
    const last = row.parts.at(-1)?.to ?? row.at;
    if (row.depth >= wanted && !(row.at <= to && last >= from)) continue;
    kept.push(row);
    wanted = row.depth;
  }
  return kept.reverse();
}

function merge(spans) {
  const merged = [];
  for (const [from, to] of spans.sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

const SLIVER = 0.05; // share of the width that a squeezed gap keeps

// → [{from, to, x, w, idle}] that cover start..end and 0..1
function piecewise(spans, start, end, squeeze) {
  const pieces = [];
  let at = start;
  for (const [from, to] of [...spans, [end, end]]) {
    if (from > at) pieces.push({ from: at, to: from, idle: true });
    if (to > from) pieces.push({ from: Math.max(at, from), to, idle: false });
    at = Math.max(at, to);
  }
  const total = end - start;
  const busy = pieces.reduce((sum, piece) => sum + (piece.idle ? 0 : piece.to - piece.from), 0) || total;
  const long = (piece) => squeeze && piece.idle && piece.to - piece.from > Math.max(busy * 0.5, 20);
  const gaps = pieces.filter(long).length;
  const share = Math.min(SLIVER, 0.4 / Math.max(1, gaps));
  const rest = pieces.reduce((sum, piece) => sum + (long(piece) ? 0 : piece.to - piece.from), 0) || 1;
  let x = 0;
  for (const piece of pieces) {
    piece.squeezed = long(piece);
    piece.w = piece.squeezed ? share : ((piece.to - piece.from) / rest) * (1 - share * gaps);
    piece.x = x;
    x += piece.w;
  }
  return pieces;
}

function position(pieces, ms) {
  const piece = pieces[firstThat(pieces, (one) => ms <= one.to)] ?? pieces.at(-1);
  if (!piece) return 0;
  const share = piece.to > piece.from ? (ms - piece.from) / (piece.to - piece.from) : 0;
  return piece.x + piece.w * Math.min(1, Math.max(0, share));
}

function momentAt(pieces, x) {
  const piece = pieces[firstThat(pieces, (one) => x <= one.x + one.w)] ?? pieces.at(-1);
  if (!piece) return 0;
  return piece.from + (piece.to - piece.from) * Math.min(1, Math.max(0, piece.w ? (x - piece.x) / piece.w : 0));
}

// Index of the first piece of which `is` holds; it holds of all after it too.
function firstThat(pieces, is) {
  let [low, high] = [0, pieces.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (is(pieces[middle])) high = middle;
    else low = middle + 1;
  }
  return low;
}
