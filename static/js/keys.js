// The keyboard: page keys, and j / k / Enter / Esc in tables. Never while somebody types.
import { switchTheme } from "./theme.js";

const GO_MS = 1200;
let waitsForPage = -Infinity;

export function typing(target) {
  return target instanceof Element && target.closest("input, select, textarea, [contenteditable], dialog[open]");
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.key === "Escape") return leave(event.target);
  if (typing(event.target)) return;
  const goes = event.timeStamp - waitsForPage < GO_MS; // when it was pressed, not when a busy page came to it
  waitsForPage = event.key === "g" && !goes ? event.timeStamp : -Infinity;
  const action = goes ? () => go(event.key) : ACTIONS[event.key];
  if (action && action() !== false) event.preventDefault();
}

const ACTIONS = {
  "/": find,
  "?": () => document.getElementById("help")?.showModal(),
  t: switchTheme,
  j: () => step(1),
  k: () => step(-1),
  Enter: open,
};

// The links of the header say which key is theirs.
function go(key) {
  const link = [...document.querySelectorAll("[data-go]")].find((one) => one.dataset.go === key);
  return link ? location.assign(link.href) : false;
}

function find() {
  const box = document.querySelector('[data-key="/"]');
  box?.focus();
  box?.select();
}

function leave(target) {
  if (target.matches("input")) target.blur();
  else document.querySelector(".current[data-row], tr.current")?.classList.remove("current");
}

function rows() {
  return [...document.querySelectorAll("[data-rows] > tbody > tr, [data-rows] > li")].filter(
    (row) => row.offsetParent && !row.matches(".opened-row"),
  );
}

function step(by) {
  const all = rows();
  if (!all.length) return false;
  const at = all.findIndex((row) => row.classList.contains("current"));
  const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
  all[at]?.classList.remove("current");
  next.classList.add("current");
  next.scrollIntoView({ block: "nearest" });
  next.querySelector("a")?.focus({ preventScroll: true });
}

function open() {
  const focused = document.activeElement;
  if (focused && focused.matches("a, button, summary, [tabindex='0']")) return false;
  const link = document.querySelector(".current a");
  return link ? link.click() : false;
}

document.addEventListener("keydown", press);

document.addEventListener("click", (click) => {
  if (click.target.closest("a, button, input, select, summary, label")) {
    const opener = click.target.closest("[data-open]");
    if (opener) document.getElementById(opener.dataset.open)?.showModal();
    return;
  }
  const row = click.target.closest("tr[data-href]");
  if (row && !String(getSelection())) location.assign(row.dataset.href);
});
