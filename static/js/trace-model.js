// A trace as cards: which event was caused by which lane, in an order that only ever grows. Knows no DOM.
import { isTrouble } from "./words.js";

const SIBLINGS = 5; // of one type under one lane; the rest fold into one card

export function eventKey(event) {
  return event.ghost && !event.entry ? `ghost ${event.id}` : `${event.topic} ${event.partition} ${event.entry}`;
}

// Known only because another event names it as its cause.
export function isBlank(card) {
  return Boolean(card.event.ghost) && !card.lanes.length;
}

export function title(event) {
  return event.type || (event.ghost ? "before retention" : "no type");
}

export function laneKey(card, group) {
  return `${card.key} ${group}`;
}

// → cards in reading order: {key, kind: "event"|"fold", event, lanes, depth, parent, via, children}
export function cards(trace, unfolded = new Set()) {
  const byCause = new Map();
  const known = new Set(trace.events.map((event) => event.id));
  for (const event of trace.events) {
    const cause =
      event.cause && known.has(event.cause.event) && event.cause.event !== event.id ? event.cause.event : "";
    byCause.set(cause, [...(byCause.get(cause) ?? []), event]);
  }
  const seen = new Set();
  const all = [];
  for (const event of byCause.get("") ?? []) grow(all, { byCause, seen, unfolded }, card(event, null, null));
  return all;
}

function card(event, parent, via) {
  return {
    key: eventKey(event),
    kind: "event",
    event,
    lanes: event.lanes,
    depth: parent ? parent.depth + 1 : 0,
    parent,
    via,
    children: [],
  };
}

function grow(all, context, node) {
  if (context.seen.has(node.key)) return; // two events under one id, or a ring of causes
  context.seen.add(node.key);
  all.push(node);
  node.parent?.children.push(node);
  const caused = context.byCause.get(node.event.id) ?? [];
  for (const lane of [...node.lanes.map((lane) => lane.group), null]) {
    const own = caused.filter((event) => causedBy(event, node) === lane);
    for (const siblings of perType(own)) addSiblings(all, context, node, lane, siblings);
  }
}

function causedBy(event, node) {
  return node.lanes.some((lane) => lane.group === event.cause.group) ? event.cause.group : null;
}

function perType(events) {
  const types = new Map();
  for (const event of events) types.set(event.type, [...(types.get(event.type) ?? []), event]);
  return types.values();
}

function addSiblings(all, context, node, lane, siblings) {
  const key = `fold ${node.key} ${lane} ${siblings[0].type}`;
  const folds = siblings.length > SIBLINGS + 1 && !context.unfolded.has(key);
  for (const event of folds ? siblings.slice(0, SIBLINGS) : siblings) grow(all, context, card(event, node, lane));
  if (!folds) return;
  const rest = siblings.slice(SIBLINGS);
  const fold = {
    key,
    kind: "fold",
    event: rest[0],
    events: rest,
    lanes: [],
    depth: node.depth + 1,
    parent: node,
    via: lane,
    children: [],
  };
  node.children.push(fold);
  all.push(fold);
}

// Everything that can be selected, in reading order.
export function stops(all) {
  return all.flatMap((node) =>
    node.kind === "fold"
      ? [{ key: node.key, card: node, group: null }]
      : [
          { key: node.key, card: node, group: null },
          ...node.lanes.map((lane) => ({ key: laneKey(node, lane.group), card: node, group: lane.group, lane })),
        ],
  );
}

export function errors(trace) {
  return trace.events.flatMap((event) =>
    event.lanes
      .filter(isTrouble)
      .map((lane) => ({ event: event.id, key: eventKey(event), group: lane.group, state: lane.state })),
  );
}

// The keys of the folds that hide an event: its own and those of the events that led to it.
export function foldsAround(all, trace, eventId) {
  const chain = new Set();
  for (let id = eventId; id && !chain.has(id); id = trace.events.find((event) => event.id === id)?.cause?.event)
    chain.add(id);
  return all
    .filter((node) => node.kind === "fold" && node.events.some((event) => chain.has(event.id)))
    .map((node) => node.key);
}

// From a selected stop back to the root: keys of the cards and lanes that led to it.
export function pathTo(stop) {
  const keys = new Set();
  for (let node = stop?.card, group = stop?.group; node; group = node.via, node = node.parent) {
    keys.add(node.key);
    if (group) keys.add(laneKey(node, group));
  }
  return keys;
}

// How a card looks from afar.
export function worstOf({ lanes, events = [] }) {
  const states = [...lanes, ...events.flatMap((event) => event.lanes)].map((lane) => lane.state);
  return ["dead", "retrying"].find((state) => states.includes(state)) ?? (states.includes("lost") ? "dead" : "well");
}
