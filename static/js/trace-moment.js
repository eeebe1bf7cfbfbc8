// A trace as it was at a moment, and the moments at which something happened. Knows no DOM.

// → [{at, bad}] in order, one per millisecond in which something happened; bad: an attempt failed, or a lane was lost.
export function moments(trace) {
  const found = new Map();
  const add = (at, bad = false) => at && found.set(at, bad || (found.get(at) ?? false));
  for (const event of trace.events) {
    add(event.at_ms);
    for (const lane of event.lanes) {
      for (const attempt of lane.attempts) {
        add(attempt.started_ms);
        add(attempt.ended_ms, attempt.state === "failed" || attempt.state === "reclaimed");
      }
      add(lane.settled_ms, ["dead", "lost"].includes(lane.state));
    }
  }
  return [...found].sort((a, b) => a[0] - b[0]).map(([at, bad]) => ({ at, bad }));
}

// Where `at` is among the moments: the index of the newest one that is not after it, at least 0.
export function indexAt(all, at) {
  let [low, high] = [0, all.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (all[middle].at <= at) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

// The trace with every lane in the state that it had then. What had not happened yet stays, marked `later`, so that
// nothing changes its place. `at` null: now.
export function asOf(trace, at) {
  if (at === null) return trace;
  const events = trace.events.map((event) => eventAsOf(event, at));
  const lanes = events.filter((event) => !event.later).flatMap((event) => event.lanes);
  const complete = events.every((event) => !event.later) && trace.complete && !lanes.some((lane) => lane.asOf);
  return { ...trace, events, complete, summary: complete ? trace.summary : summary(trace, events, lanes) };
}

function eventAsOf(event, at) {
  const later = (event.at_ms ?? 0) > at;
  return { ...event, later, lanes: event.lanes.map((lane) => laneAsOf(lane, at, later)) };
}

function laneAsOf(lane, at, later) {
  if (later) return { ...lane, ...told("waiting", []), asOf: at, later };
  const begun = lane.attempts.filter((attempt) => (attempt.started_ms ?? 0) <= at);
  const attempts = begun.map((attempt) =>
    attempt.ended_ms && attempt.ended_ms > at
      ? { ...attempt, state: "running", ended_ms: null, duration_us: 0, error: null }
      : attempt,
  );
  const last = attempts.at(-1);
  const over = begun.length === lane.attempts.length && last === begun.at(-1) && (lane.settled_ms ?? 0) <= at;
  if (over) return lane;
  return { ...lane, ...told(stateAfter(last), attempts, lane.attempts_allowed), asOf: at };
}

const AFTER = { running: "running", failed: "retrying", succeeded: "succeeded" };

function stateAfter(attempt) {
  return AFTER[attempt?.state] ?? "waiting"; // given back, or taken from a dead worker
}

function told(state, attempts, allowed = 0) {
  const next = (attempts.at(-1)?.number ?? 0) + 1;
  const label =
    state === "retrying" ? `Retrying ${next}/${Math.max(allowed, next)}` : state[0].toUpperCase() + state.slice(1);
  const error = attempts.at(-1)?.error ?? "";
  return { state, label, attempts, due_ms: null, settled_ms: null, duration_us: 0, note: error };
}

function summary(trace, events, lanes) {
  const counts = Object.fromEntries(
    Object.keys(trace.summary)
      .filter((name) => !["events", "lanes", "took_ms"].includes(name))
      .map((name) => [name, lanes.filter((lane) => lane.state === name).length]),
  );
  const seen = events.filter((event) => !event.later && event.at_ms).length;
  return { events: seen, lanes: lanes.length, ...counts, took_ms: null };
}
