// Which column of the map a topic stands in. Knows no DOM.
export const nodeOf = {
  source: (name) => `source ${name}`,
  topic: (name) => `topic ${name}`,
  group: (topic, group) => `group ${topic} ${group}`,
};

// Which part of each topic's events was published by handlers; the rest comes from outside.
export function shareCaused({ topics, edges }) {
  const published = Map.groupBy(edges.publishes, (edge) => edge.topic);
  const sum = (topic) => (published.get(topic) ?? []).reduce((total, edge) => total + edge.total, 0);
  return new Map(topics.map(({ topic, total }) => [topic, sum(topic) / Math.max(1, total)]));
}

// Right of who feeds it: of the sources, unless most of its events come from handlers.
export function assign(names, feeds, columns, caused) {
  const fed = Map.groupBy(feeds, (edge) => edge.to);
  const depth = (name, trail) => {
    if (columns.has(name)) return columns.get(name);
    const edges = fed.get(nodeOf.topic(name)) ?? [];
    const parents = edges.filter((edge) => edge.card && !trail.includes(edge.card));
    const isOutside = edges.some((edge) => !edge.card) && caused.get(name) < 0.5;
    if (isOutside || !parents.length) return 1;
    return 1 + Math.min(...parents.map((edge) => depth(edge.card, [...trail, name])));
  };
  for (const name of names) columns.set(name, depth(name, [name]));
}
