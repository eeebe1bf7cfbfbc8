// Light or dark: from the system until the reader chooses.
import { changeIcon } from "./dom.js";
import { write } from "./memory.js";

const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
}

function show() {
  for (const button of document.querySelectorAll("[data-theme-switch]")) changeIcon(button, isDark() ? "sun" : "moon");
}

export function switchTheme() {
  root.dataset.theme = isDark() ? "light" : "dark";
  write("theme", root.dataset.theme);
  show();
}

for (const button of document.querySelectorAll("[data-theme-switch]")) button.addEventListener("click", switchTheme);
system.addEventListener("change", show);
show();
