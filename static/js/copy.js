// Buttons that copy: data-copy names the element, data-copy-text is the text itself.
import { h } from "./dom.js";

let toast = null;

export function say(words) {
  toast?.remove();
  toast = h("p", { class: "toast", role: "status" }, words);
  document.body.append(toast);
  setTimeout((shown) => shown.remove(), 1600, toast);
}

export async function copy(words) {
  try {
    await navigator.clipboard.writeText(words);
    say("Copied");
  } catch {
    say("The browser refused to copy: select the text and press Ctrl-C");
  }
}

document.addEventListener("click", (click) => {
  const button = click.target.closest("[data-copy], [data-copy-text]");
  if (!button) return;
  const source = button.dataset.copy ? document.querySelector(button.dataset.copy) : null;
  copy(source ? source.textContent : (button.dataset.copyText ?? ""));
});
