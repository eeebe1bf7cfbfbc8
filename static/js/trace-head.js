// The header of a trace: the same parts as the server renders, worst first.
import { h, icon, text } from "./dom.js";
import { errors } from "./trace-model.js";
import { count, duration, plural } from "./words.js";

const PARTS = ["dead", "lost", "retrying", "running", "waiting", "skipped"];

export function showHead(page, trace) {
  const { summary } = trace;
  const parts = PARTS.filter((name) => summary[name]).map((name) => ({
    name,
    words: `${count(summary[name])} ${name}`,
  }));
  const done = summary.lanes
    ? `${count(summary.succeeded)} of ${count(summary.lanes)} succeeded`
    : "no group subscribed";
  showParts(page.querySelector("[data-summary]"), [...parts, { name: "succeeded", words: done }], trace);
  text(page.querySelector('[data-fact="events"]'), count(summary.events));
  text(page.querySelector('[data-fact="took"]'), summary.took_ms === null ? "not done yet" : duration(summary.took_ms));
  const bad = errors(trace).length;
  page.querySelector("[data-errors]").hidden = !bad;
  text(page.querySelector("[data-error-count]"), plural(bad, "error"));
}

function showParts(node, parts, trace) {
  const due = trace.events.flatMap((event) =>
    event.lanes.filter((lane) => lane.state === "retrying" && lane.due_ms).map((lane) => lane.due_ms),
  );
  const next = due.length ? Math.min(...due) : null;
  const print = JSON.stringify([parts, next]);
  if (node.dataset.print === print) return;
  node.dataset.print = print;
  node.replaceChildren(
    ...parts.map(({ name, words }) => {
      const chip = h("span", { class: `chip state-${name}` }, icon(`state-${name}`), words);
      if (name === "retrying" && next) chip.append(" ", h("span", { "data-due": next }));
      return chip;
    }),
  );
}
