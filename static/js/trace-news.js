// What a newer picture of a trace says that the older one did not. Knows no DOM.

// The newest moment that anything of the trace was published or settled at.
export function newest(trace) {
  let found = 0;
  for (const event of trace.events) {
    found = Math.max(found, event.at_ms ?? 0);
    for (const lane of event.lanes) found = Math.max(found, lane.settled_ms ?? 0);
  }
  return found;
}

// What ended since, in words for who can't see it.
export function turnedOut(before, after) {
  const states = new Map(
    before.events.flatMap((event) => event.lanes.map((lane) => [`${event.id} ${lane.group}`, lane.state])),
  );
  const turned = after.events.flatMap((event) =>
    event.lanes
      .filter((lane) => ["dead", "lost"].includes(lane.state) && states.get(`${event.id} ${lane.group}`) !== lane.state)
      .map((lane) => `${lane.group}: ${lane.label}`),
  );
  if (after.complete && !before.complete) turned.push("every group is done");
  return turned;
}
