// <overview-page>: keeps figures and tables current from the socket. Numbers are written in place; a new row comes from the server.
import { showTimes } from "./clock.js";
import { readJson, set, text } from "./dom.js";
import { fetchPart } from "./fetch-part.js";
import { live } from "./live.js";
import { count, failing, rate } from "./words.js";

const PARTS_EVERY_MS = 3000;

class OverviewPage extends HTMLElement {
  connectedCallback() {
    this.overview = readJson("overview-data");
    this.addEventListener("follow", () => this.#fetch("edge"));
    if (this.querySelector("[data-part=edge]")) setInterval(() => this.#refresh(), PARTS_EVERY_MS);
    live.watch(
      () => ({ kind: "overview" }),
      (frame) => frame.kind === "overview" && this.#take(frame),
    );
  }

  #take(overview) {
    this.overview = overview;
    if (overview.topics.length) this.#unveil();
    this.#banner(overview.server);
    this.#figures(overview.figures);
    const groups = new Map(overview.topics.map(({ topic }) => [topic, []]));
    for (const group of overview.groups) groups.get(group.topic)?.push(group);
    const topics = this.#rows("topic");
    for (const topic of overview.topics) this.#topic(topics.get(topic.topic), topic, groups.get(topic.topic));
    const rows = this.#rows("groupRow");
    for (const group of overview.groups) this.#group(rows.get(`${group.group}|${group.topic}`), group);
    this.#recent(overview.recent[0]);
    this.dispatchEvent(new Event("overview"));
    // This page draws sums once a second: what is measured for it ends at the dashboard, not at the screen.
    const { p50_ms: p50, p95_ms: p95 } = overview.delay ?? {};
    if (overview.delay) live.dispatchEvent(new CustomEvent("delay", { detail: { p50, p95, to: "dashboard" } }));
    showTimes(this);
  }

  #unveil() {
    this.querySelector("flow-map")?.removeAttribute("hidden");
    this.querySelector("[data-map-empty]")?.setAttribute("hidden", "");
  }

  #banner(server) {
    const banner = this.querySelector("[data-banner]");
    if (!banner) return;
    banner.hidden = !server || server.available;
    text(banner.querySelector("[data-trouble]"), server?.trouble);
  }

  #figures(figures) {
    for (const [kind, value] of Object.entries(figures)) {
      const figure = this.querySelector(`[data-figure="${kind}"]`);
      if (!figure) continue;
      text(figure.querySelector("strong"), count(value));
      text(figure.querySelector("span"), value === 1 ? figure.dataset.one : figure.dataset.many);
      figure.dataset.zero = String(!value);
    }
  }

  #rows(name) {
    const attribute = name.replace(/[A-Z]/, (letter) => `-${letter.toLowerCase()}`);
    return new Map([...this.querySelectorAll(`tr[data-${attribute}]`)].map((row) => [row.dataset[name], row]));
  }

  // A new row comes only where all of them are shown.
  #lacks(part) {
    if (this.querySelector(`[data-part="${part}"] [data-whole]`)) this.#fetch(part);
  }

  #topic(row, topic, groups) {
    if (!row) return this.#lacks("topics");
    cell(row, "rate", rate(topic.rate));
    cell(row, "total", count(topic.total));
    moment(row, topic.newest_ms);
    cell(row, "groups", groups.length);
    for (const [name, field] of Object.entries({ behind: "lag", retrying: "retrying", dead: "dead" })) {
      const sum = total(groups.map((group) => group[field]));
      cell(row, name, count(sum), { zero: !sum, [`state-${name}`]: sum });
    }
    const failed = total(groups.map((group) => group.failing_rate));
    cell(row, "failing", failing(failed), { zero: failed < 0.05, "state-retrying": failed >= 0.05 });
    set(row.querySelector("polyline"), "points", points(topic.spark));
  }

  #group(row, group) {
    if (!row) return this.#lacks("groups");
    cell(row, "rate", rate(group.rate));
    cell(row, "lag", count(group.lag), { zero: group.lag === 0 });
    moment(row, group.oldest_ms, "oldest");
    cell(row, "pending", count(group.pending), { zero: !group.pending });
    cell(row, "retrying", count(group.retrying), { zero: !group.retrying, "state-retrying": group.retrying });
    const dead = row.querySelector('[data-cell="dead"]');
    if (
      text(dead.querySelector("a") ?? dead, count(group.dead)) ||
      Boolean(group.dead) !== Boolean(dead.querySelector("a"))
    )
      this.#fetch("groups");
    cell(row, "workers", count(group.workers), { "state-dead": group.workers === 0 });
  }

  // Nothing moves under the pointer: the feed waits until the reader has left it.
  #recent(newest) {
    const feed = this.querySelector("#recent");
    if (!feed || !newest || feed.matches(":hover, :focus-within")) return;
    const print = `${newest.at_ms} ${newest.text}`;
    if (feed.dataset.print === print) return;
    const first = feed.dataset.print === undefined;
    feed.dataset.print = print;
    if (!first || !feed.querySelector("li")) this.#fetch("recent");
  }

  // What the server words or searches for: not while the reader is there.
  #refresh() {
    if (document.hidden || live.isStopped) return;
    const isBehind = this.overview.figures.behind || this.querySelector("[data-part=behind] li");
    if (isBehind && !this.querySelector("[data-part=behind]:hover")) this.#fetch("behind");
    if (!this.querySelector("[data-part=alerts]:is(:hover, :focus-within)")) this.#fetch("alerts");
    const edge = this.querySelector("[data-part=edge] > *");
    if (edge && !edge.matches(":hover, :focus-within") && !edge.querySelector(".current")) this.#fetch("edge");
  }

  #fetch(part) {
    const target = this.querySelector(`[data-part="${part}"]`);
    if (!target || target.dataset.busy) return;
    target.dataset.busy = "yes";
    const asked = location.search;
    fetchPart(`/overview/${part}/${part === "recent" ? "" : asked}`, target).finally(() => {
      delete target.dataset.busy;
      if (asked !== location.search) this.#fetch(part); // followed another path meanwhile
    });
  }
}

// Unknown when any part of it is.
function total(values) {
  return values.some((value) => value === null) ? null : values.reduce((sum, value) => sum + value, 0);
}

function cell(row, name, words, classes = {}) {
  const node = row.querySelector(`[data-cell="${name}"]`);
  text(node.querySelector("a") ?? node, words);
  for (const [look, on] of Object.entries(classes)) node.classList.toggle(look, Boolean(on));
}

function moment(row, ms, name = "newest") {
  const node = row.querySelector(`[data-cell="${name}"]`);
  const time = node.querySelector("time");
  if (!ms) text(node, "–");
  else if (time) set(time, "data-ms", ms);
  else node.replaceChildren(Object.assign(document.createElement("time"), { textContent: "now" }));
  if (ms) set(node.querySelector("time"), "data-ms", ms);
}

export function points(values) {
  const top = Math.max(1, ...values);
  const step = 120 / Math.max(1, values.length - 1);
  return values.map((value, at) => `${(at * step).toFixed(1)},${(19 - (value / top) * 18).toFixed(1)}`).join(" ");
}

customElements.define("overview-page", OverviewPage);
