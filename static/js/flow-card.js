// One event of a trace as a card: header, one row a lane, and a last line that says what to know.
import { h, Keyed, set, text } from "./dom.js";
import { makeLane, updateLane } from "./flow-lane.js";
import { isBlank, laneKey, title } from "./trace-model.js";
import { count, duration } from "./words.js";

const WORST = ["dead", "lost", "retrying", "held", "waiting"];

export function makeCard(node) {
  if (node.kind === "fold") return makeFold(node);
  const card = h("div", { class: "card", "data-key": node.key, role: "group" });
  const head = h(
    "button",
    { type: "button", class: "card-head", "data-stop": node.key, tabindex: -1 },
    h("span", { class: "card-type cut" }),
    h("span", { class: "card-at num" }),
    h("span", { class: "card-key cut" }),
  );
  card.append(head, h("div", { class: "lanes" }));
  card.classList.toggle("blank", isBlank(node));
  if (!isBlank(node)) card.append(h("p", { class: "card-foot cut" }));
  card.lanes = new Keyed(card.querySelector(".lanes"), makeLane, updateLane);
  return card;
}

function makeFold(node) {
  return h(
    "div",
    { class: "card fold", "data-key": node.key },
    h(
      "button",
      { type: "button", class: "fold-open", "data-stop": node.key, "data-unfold": node.key, tabindex: -1 },
      h("strong"),
      h("span", { class: "note" }),
    ),
  );
}

export function updateCard(card, node, start) {
  if (node.kind === "fold") return updateFold(card, node);
  const { event } = node;
  const type = title(event);
  const timed = event.at_ms && node.parent?.event.at_ms;
  const place = `key ${event.key ?? "none"} · topic ${event.topic} · partition ${event.partition} · entry ${event.entry}`;
  set(card, "aria-label", type);
  card.classList.toggle("ghost", Boolean(event.ghost));
  card.classList.toggle("later", Boolean(event.later));
  card.classList.toggle("forgotten", Boolean(event.forgotten_ms));
  const [name, at, key] = card.firstChild.children;
  text(name, type);
  set(name, "title", type);
  text(at, timed ? `+${duration(Math.max(0, event.at_ms - start))}` : "");
  text(key, [event.key, event.topic].filter(Boolean).join(" · ") || event.id);
  set(key, "title", event.entry ? place : event.id);
  if (isBlank(node)) return;
  card.lanes.show(
    node.lanes.map((lane) => ({
      key: lane.group,
      lane,
      stop: laneKey(node, lane.group),
      causes: node.children.some((child) => child.via === lane.group),
    })),
  );
  updateFoot(card, node);
}

function updateFoot(card, { event, lanes }) {
  const noted = lanes.filter((lane) => lane.note && WORST.includes(lane.state));
  const worst = noted.sort((a, b) => WORST.indexOf(a.state) - WORST.indexOf(b.state))[0];
  const forgotten = event.forgotten_ms && "the server was rewound and forgot this event";
  const words = forgotten || (worst ? `${worst.group}: ${worst.note}` : event.preview);
  const foot = card.lastChild;
  text(foot, words);
  set(foot, "title", words);
  set(foot, "class", `card-foot cut ${forgotten ? "state-lost" : worst ? `state-${worst.state}` : "mono"}`);
  card.classList.toggle("lonely", !lanes.length);
}

// "× 180 succeeded" where all ended alike, else how many of what.
function updateFold(card, { events, open }) {
  const counts = new Map();
  for (const lane of events.flatMap((event) => event.lanes)) counts.set(lane.state, (counts.get(lane.state) ?? 0) + 1);
  const [only] = counts.size === 1 ? [...counts.keys()] : ["more"];
  const [title, note] = card.firstChild.children;
  const many = count(events.length);
  text(title, open ? `Fold ${many} ${events[0].type || "events"}` : `× ${many} ${only}`);
  const parts = [...counts].sort((a, b) => rank(a[0]) - rank(b[0])).map(([state, n]) => `${count(n)} ${state}`);
  const told = counts.size > 1 ? [events[0].type, ...parts.slice(0, 3)] : [events[0].type];
  text(note, open ? "shown above" : `${told.join(" · ")} · show all`);
  set(card.firstChild, "aria-expanded", String(open));
  card.classList.toggle("state-dead", !open && (counts.has("dead") || counts.has("lost")));
}

function rank(state) {
  const at = WORST.indexOf(state);
  return at < 0 ? WORST.length : at;
}
