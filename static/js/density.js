// Comfortable or compact rows: remembered, and in the page's first byte the next time.
import { set } from "./dom.js";
import { write } from "./memory.js";

const root = document.documentElement;
const buttons = document.querySelectorAll("[data-density-switch]");

function show() {
  for (const button of buttons) set(button, "aria-pressed", String(root.dataset.density === "compact"));
}

export function switchDensity() {
  const chosen = root.dataset.density === "compact" ? "comfortable" : "compact";
  root.dataset.density = chosen;
  write("density", chosen);
  show();
}

for (const button of buttons) button.addEventListener("click", switchDensity);
show();
