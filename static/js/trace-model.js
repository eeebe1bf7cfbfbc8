// A trace as cards: which event was caused by which lane, in an order that only ever grows. Knows no DOM.
import { isTrouble } from "./words.js";

const SIBLINGS = 5; // of one type under one lane; the rest fold into one card
const MOST_TROUBLED = 40; // that stand beside their fold

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
// `unfolded`: keys of folds that are open. `troubled`: keys of troubled siblings; they stay out of their fold for good.
export function cards(trace, unfolded = new Set(), troubled = new Set()) {
  const byCause = new Map();
  const known = new Set(trace.events.map((event) => event.id));
  for (const event of trace.events) {
    const isCaused = event.cause && known.has(event.cause.event) && event.cause.event !== event.id;
    add(byCause, isCaused ? event.cause.event : "", event);
  }
  const all = [];
  const context = { byCause, seen: new Set(), unfolded, troubled };
  for (const event of byCause.get("") ?? []) grow(all, context, card(event, null, null));
  return all;
}

function add(lists, name, item) {
  const list = lists.get(name);
  if (list) list.push(item);
  else lists.set(name, [item]);
}

function card(event, parent, via) {
  const depth = parent ? parent.depth + 1 : 0;
  return { key: eventKey(event), kind: "event", event, lanes: event.lanes, depth, parent, via, children: [] };
}

function grow(all, context, node) {
  if (context.seen.has(node.key)) return; // two events under one id, or a ring of causes
  context.seen.add(node.key);
  all.push(node);
  node.parent?.children.push(node);
  const caused = new Map();
  const groups = new Set(node.lanes.map((lane) => lane.group));
  for (const event of context.byCause.get(node.event.id) ?? [])
    add(caused, groups.has(event.cause.group) ? event.cause.group : null, event);
  for (const lane of [...groups, null]) {
    const types = new Map();
    for (const event of caused.get(lane) ?? []) add(types, event.type, event);
    for (const siblings of types.values()) addSiblings(all, context, node, lane, siblings);
  }
}

// The first few siblings and the troubled ones are cards of their own; the rest fold into one.
function addSiblings(all, context, node, lane, siblings) {
  const key = `fold ${node.key} ${lane} ${siblings[0].type}`;
  const many = siblings.length > SIBLINGS + 1;
  const open = context.unfolded.has(key);
  const rest = many ? siblings.filter((event, at) => at >= SIBLINGS && !standsOut(event, context.troubled)) : [];
  const folded = new Set(open || rest.length < 2 ? [] : rest);
  for (const event of siblings) if (!folded.has(event)) grow(all, context, card(event, node, lane));
  if (rest.length < 2) return;
  const fold = { ...card(rest[0], node, lane), key, kind: "fold", events: rest, lanes: [], open };
  node.children.push(fold);
  all.push(fold);
}

function standsOut(event, troubled) {
  const key = eventKey(event);
  if (troubled.has(key)) return true;
  if (troubled.size >= MOST_TROUBLED || !event.lanes.some(isTrouble)) return false;
  troubled.add(key);
  return true;
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
  const causes = new Map(trace.events.map((event) => [event.id, event.cause?.event]));
  for (let id = eventId; id && !chain.has(id); id = causes.get(id)) chain.add(id);
  return all
    .filter((node) => node.kind === "fold" && !node.open && node.events.some((event) => chain.has(event.id)))
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
