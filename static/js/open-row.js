// Opens an event in its row: its data beside its deliveries. A click on the row's arrow, or `e` on the row chosen with j and k.
import { showTimes } from "./clock.js";
import { fromHtml, h, set } from "./dom.js";
import { typing } from "./keys.js";

export async function openRow(row) {
  const button = row.querySelector("[data-row-open]");
  const isOpen = button.getAttribute("aria-expanded") === "true";
  set(button, "aria-expanded", String(!isOpen));
  if (isOpen) return row.nextElementSibling?.matches(".opened-row") && row.nextElementSibling.remove();
  const cell = h("td", { colspan: row.children.length }, h("p", { class: "note" }, "…"));
  row.after(h("tr", { class: "opened-row" }, cell));
  try {
    const answer = await fetch(row.dataset.opened);
    const words = { 404: "Not recorded yet: open it again in a moment." }[answer.status] ?? "The dashboard does not answer.";
    cell.replaceChildren(answer.ok ? fromHtml(await answer.text()) : h("p", { class: "note" }, words));
    showTimes(cell);
  } catch {
    cell.replaceChildren(h("p", { class: "note" }, "The dashboard does not answer."));
  }
}

document.addEventListener("click", (click) => {
  const button = click.target.closest("[data-row-open]");
  if (button) openRow(button.closest("tr"));
});

document.addEventListener("keydown", (press) => {
  const row = document.querySelector("tr.current[data-opened]");
  if (press.key === "e" && row && !press.ctrlKey && !press.metaKey && !typing(press.target)) openRow(row);
});
