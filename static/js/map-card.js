// A source or a topic on the map, and a topic's groups as rows: icon, name, and what is wrong.
import { changeIcon, h, icon, Keyed, set, text } from "./dom.js";
import { count, rate } from "./words.js";

const ICONS = {
  dead: "state-dead",
  retrying: "state-retrying",
  behind: "clock",
  well: "state-succeeded",
  idle: "state-waiting",
};

export function makeCard(card) {
  const name = h("button", { type: "button", class: "map-name cut", "data-node": card.key });
  const speed = h("span", { class: "num map-rate" });
  if (card.kind === "source")
    return h("div", { class: "card map-source" }, h("div", { class: "map-head" }, name, speed));
  const open = h(
    "a",
    {
      class: "icon-button small",
      href: `/topics/${encodeURIComponent(card.name)}/`,
      title: `Open ${card.name}`,
      "aria-label": `Open ${card.name}`,
    },
    icon("open"),
  );
  const node = h(
    "div",
    { class: "card map-topic" },
    h("div", { class: "map-head" }, name, speed, open),
    h("div", { class: "map-rows" }),
  );
  node.rows = new Keyed(node.lastChild, makeRow, updateRow);
  return node;
}

export function updateCard(node, card) {
  const name = node.querySelector(".map-name");
  text(name, card.name);
  set(name, "title", card.title ?? card.name);
  text(node.querySelector(".map-rate"), rate(card.rate));
  node.classList.toggle("idle", !(card.rate > 0.05));
  if (card.kind === "source") return;
  node.rows.show(card.rows);
  node.classList.toggle("empty-card", !card.rows.length);
}

function makeRow(row) {
  return h(
    "button",
    { type: "button", class: "map-row", "data-node": row.key },
    icon("state-waiting"),
    h("span", { class: "cut map-group" }),
    h("span", { class: "num cut map-figures" }),
  );
}

function updateRow(node, row) {
  const [, name, figures] = node.children;
  node.classList.remove("well", "idle", "behind", "state-dead", "state-retrying");
  node.classList.add({ dead: "state-dead", retrying: "state-retrying" }[row.worst] ?? row.worst);
  changeIcon(node, ICONS[row.worst]);
  text(name, row.group);
  const parts = [rate(row.rate)];
  if (row.lag === null) parts.push("lag unknown");
  else if (row.worst === "behind" || row.lag > Math.max(5, row.rate * 2)) parts.push(`${count(row.lag)} behind`); // less is only in flight
  if (row.retrying) parts.push(`${count(row.retrying)} retrying`);
  if (row.dead) parts.push(`${count(row.dead)} dead`);
  if (row.workers === 0) parts.push("no worker");
  text(figures, parts.slice(-2).join(" · ")); // a card has room for two: the worst; the title has all
  set(node, "title", `${row.group} on ${row.topic}: ${parts.join(", ")}`);
}
