// The overview as cards: sources, and topics whose rows are their groups; who feeds whom. Knows no DOM.
import { assign, nodeOf, shareCaused } from "./map-columns.js";

export const MAP = { source: 148, topic: 252, gapX: 44, head: 36, small: 30, row: 26, foot: 6 };
const MANY = 3; // sources that feed the same topics; more of them share one card
const ALL = 0.98;
const LAGGING = 100;
const LATE_MS = 30_000;

// The shape with which `columns` columns of topics fit into a width: narrower gaps first, then narrower cards. Where
// even these don't fit, all are as usual and the map scrolls.
export function mapShape(columns, width) {
  const fits = (source, topic, gapX) => source + columns * (topic + gapX) <= width;
  const narrow = [[MAP.source, MAP.topic, 28], [128, 224, 28], [112, 204, 24], [104, 184, 24]];
  const [source, topic, gapX] = narrow.find((sizes) => fits(MAP.source, MAP.topic, MAP.gapX) || fits(...sizes)) ?? [];
  if (!source || fits(MAP.source, MAP.topic, MAP.gapX)) return MAP_SHAPE;
  return {
    ...MAP_SHAPE,
    x: (depth) => (depth ? source + gapX + (depth - 1) * (topic + gapX) : 0),
    width: (depth) => (depth ? topic : source),
  };
}

export const MAP_SHAPE = {
  gapY: 12,
  height: (card) =>
    card.kind === "source" ? MAP.small : MAP.head + Math.max(1, card.rows.length) * MAP.row + MAP.foot,
  x: (depth) => (depth ? MAP.source + MAP.gapX + (depth - 1) * (MAP.topic + MAP.gapX) : 0),
  width: (depth) => (depth ? MAP.topic : MAP.source),
};

// → {cards, edges}; `columns` remembers each topic's column, so that a new edge never moves a card sideways.
export function mapOf(overview, columns) {
  const groups = Map.groupBy(overview.groups, (group) => group.topic);
  const names = overview.topics.map((topic) => topic.topic);
  const caused = shareCaused(overview);
  const outside = overview.edges.sources.filter((edge) => names.includes(edge.topic) && caused.get(edge.topic) < ALL);
  const sources = sourceCards(outside, names);
  const feeds = [...sourceEdges(sources), ...publishEdges(overview, groups, names)];
  assign(names, feeds, columns, caused);
  const topics = overview.topics.map((topic) =>
    topicCard(topic, groups.get(topic.topic) ?? [], columns, overview.now_ms),
  );
  const byKey = new Map(topics.map((card) => [card.key, card]));
  for (const edge of feeds) {
    const card = byKey.get(edge.to);
    if (!card.parent && edge.card && columns.get(edge.card) < columns.get(card.name))
      card.parent = byKey.get(nodeOf.topic(edge.card));
  }
  topics.sort((a, b) => a.depth - b.depth);
  return { cards: [...sources, ...topics], edges: feeds };
}

// In the order of the topics that they feed, so that their edges cross little.
function sourceCards(edges, names) {
  const bySource = [...Map.groupBy(edges, (edge) => edge.source)].map(([name, own]) => ({
    name: name || "unnamed source",
    own,
  }));
  const alike = Map.groupBy(bySource, ({ own }) =>
    own
      .map((edge) => edge.topic)
      .sort()
      .join(" "),
  );
  const first = ([, [{ own }]]) => Math.min(...own.map((edge) => names.indexOf(edge.topic)));
  const ordered = [...alike].sort((a, b) => first(a) - first(b));
  return ordered.flatMap(([targets, members]) =>
    members.length > MANY
      ? [sourceCard(`all ${targets}`, `${members.length} sources`, members)]
      : members.map((member) => sourceCard(member.name, member.name, [member])),
  );
}

function sourceCard(id, name, members) {
  const rates = new Map();
  for (const edge of members.flatMap((member) => member.own))
    rates.set(edge.topic, (rates.get(edge.topic) ?? 0) + edge.rate);
  const title = members.map((member) => member.name).join(", ");
  const rate = [...rates.values()].reduce((sum, one) => sum + one, 0);
  return { key: nodeOf.source(id), kind: "source", name, title, depth: 0, parent: null, rows: [], rate, rates };
}

function topicCard(topic, groups, columns, nowMs) {
  const rows = [...groups]
    .sort((a, b) => (a.group < b.group ? -1 : 1))
    .map((group) => ({ ...group, key: nodeOf.group(topic.topic, group.group), worst: worst(group, nowMs) }));
  return {
    key: nodeOf.topic(topic.topic),
    kind: "topic",
    name: topic.topic,
    depth: columns.get(topic.topic),
    parent: null,
    rows,
    rate: topic.rate,
  };
}

export function worst(group, nowMs) {
  if (group.dead) return "dead";
  if (!group.workers) return group.lag ? "dead" : "idle";
  if (group.retrying) return "retrying";
  if (group.lag > LAGGING || (group.oldest_ms && nowMs - group.oldest_ms > LATE_MS)) return "behind";
  return group.rate > 0.05 ? "well" : "idle";
}

function sourceEdges(sources) {
  return sources.flatMap((card) =>
    [...card.rates].map(([topic, rate]) => ({
      key: `${card.key}>${topic}`,
      from: card.key,
      to: nodeOf.topic(topic),
      rate,
      card: null,
    })),
  );
}

// A group may take several topics. Unless the edge says from which one it published, each of its rows is drawn as a
// feeder, but none when it may have been the topic itself: an edge that isn't there misleads more than a missing one.
function publishEdges(overview, groups, names) {
  const takes = (topic, group) => groups.get(topic)?.some((one) => one.group === group);
  return overview.edges.publishes.flatMap(({ group, topic: to, rate, from_topic: from }) => {
    if (!names.includes(to) || from === to || (!from && takes(to, group))) return [];
    const feeders = names.filter((topic) => (from ?? topic) === topic && takes(topic, group));
    return feeders.map((topic) => ({
      key: `${topic}/${group}>${to}`,
      from: nodeOf.group(topic, group),
      to: nodeOf.topic(to),
      rate,
      card: topic,
    }));
  });
}

// All keys up- and downstream of one node.
export function around(key, { cards, edges }) {
  const links = edges.map((edge) => [edge.from, edge.to]);
  for (const card of cards) for (const row of card.rows) links.push([card.key, row.key]);
  const reach = (from, to) => {
    const seen = new Set([key]);
    for (const at of seen) for (const link of links) if (link[from] === at) seen.add(link[to]);
    return seen;
  };
  return new Set([...reach(0, 1), ...reach(1, 0)]);
}
