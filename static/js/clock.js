// One clock for the page: the server's. Keeps every age, countdown and elapsed time on the page current.
import { set, text } from "./dom.js";
import { age, countdown, duration } from "./words.js";
import { read, write } from "./memory.js";

const root = document.documentElement;
// The page was rendered a moment before its first byte came, not when this runs.
const [navigation] = performance.getEntriesByType("navigation");
let offset = Number(root.dataset.now) - (performance.timeOrigin + (navigation?.responseStart ?? performance.now()));
let mode = read("time", ["relative", "local", "utc"]);

export function now() {
  return Date.now() + offset;
}

// Network delay only ever makes the server look older: the largest offset of late is the nearest to the truth.
export function learn(serverMs) {
  if (!serverMs) return;
  const seen = serverMs - Date.now();
  offset = seen > offset ? seen : offset + (seen - offset) * 0.05;
}

function clockText(ms, utc) {
  const moment = new Date(ms);
  const shifted = utc ? moment : new Date(ms - moment.getTimezoneOffset() * 60_000);
  const iso = shifted.toISOString();
  const day = (at) => (utc ? new Date(at).toISOString().slice(0, 10) : new Date(at).toDateString());
  return day(now()) === day(ms) ? iso.slice(11, 23) : `${iso.slice(0, 10)} ${iso.slice(11, 19)}`;
}

function momentText(ms) {
  if (mode === "relative") return age(now() - ms);
  return clockText(ms, mode === "utc");
}

function zone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "local";
}

export function showTimes(within = document) {
  for (const node of within.querySelectorAll("time[data-ms]")) {
    const ms = Number(node.dataset.ms);
    text(node, momentText(ms));
    if (!node.dataset.zoned) {
      node.dataset.zoned = "yes";
      const iso = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString();
      set(node, "title", `${node.title}\n${iso.slice(0, 10)} ${iso.slice(11, 23)} ${zone()}`);
    }
  }
  for (const node of within.querySelectorAll("[data-due]")) text(node, countdown(Number(node.dataset.due) - now()));
  for (const node of within.querySelectorAll("[data-since]"))
    text(node, duration(Math.max(0, now() - Number(node.dataset.since))));
}

// Remembered with the zone, so that the server renders the next page's times that way.
export function showTimesAs(chosen) {
  write("time", chosen);
  choose(chosen);
}

function choose(chosen) {
  mode = chosen;
  root.dataset.time = mode;
  for (const button of document.querySelectorAll('[data-switch="time"] button')) {
    set(button, "aria-pressed", String(button.value === mode));
  }
  showTimes();
}

document.querySelector('[data-switch="time"]')?.addEventListener("click", (click) => {
  const button = click.target.closest("button");
  if (button) showTimesAs(button.value);
});

write("zone", zone());
choose(mode);
setInterval(() => document.hidden || showTimes(), 500);
document.addEventListener("htmx:afterSettle", (settled) => showTimes(settled.target));
