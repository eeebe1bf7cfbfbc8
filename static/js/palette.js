// <palette-box>: Ctrl-K. The server lists places for what was typed; a pasted id or key that it knows opens at once.
import { commands } from "./commands.js";
import { showTimes } from "./clock.js";
import { fromHtml, set, text } from "./dom.js";
import { typing } from "./keys.js";

class PaletteBox extends HTMLElement {
  #asked = null;
  #answer = Promise.resolve();
  #at = 0;

  connectedCallback() {
    this.dialog = this.closest("dialog");
    this.input = this.querySelector("input");
    this.list = this.querySelector("ul");
    this.input.addEventListener("input", (typed) => this.#ask(typed.inputType === "insertFromPaste"));
    this.input.addEventListener("keydown", (press) => this.#press(press));
    this.list.addEventListener("pointerdown", (press) => press.preventDefault()); // the input keeps the focus
    this.list.addEventListener("click", (click) => this.#go(click.target.closest("li"), click.ctrlKey || click.metaKey));
    this.dialog.addEventListener("click", (click) => click.target === this.dialog && this.dialog.close());
    document.addEventListener("keydown", (press) => this.#shortcut(press), { capture: true });
    document.addEventListener("paste", (paste) => this.#pasted(paste));
    for (const button of document.querySelectorAll("[data-palette]"))
      button.addEventListener("click", () => this.open(""));
  }

  open(words, isPasted = false) {
    for (const other of document.querySelectorAll("dialog[open]")) other.close();
    this.dialog.showModal();
    this.input.value = words;
    this.input.focus();
    this.#ask(isPasted);
  }

  #shortcut(press) {
    if (!(press.ctrlKey || press.metaKey) || press.altKey || press.shiftKey || press.key.toLowerCase() !== "k") return;
    press.preventDefault();
    if (this.dialog.open) this.dialog.close();
    else this.open("");
  }

  // Pasted anywhere but into a field: whoever comes with an id in the clipboard needs no box.
  #pasted(paste) {
    const words = paste.clipboardData?.getData("text").trim();
    if (!words || typing(paste.target)) return;
    paste.preventDefault();
    this.open(words.slice(0, this.input.maxLength), true);
  }

  #ask(isPasted = false) {
    this.#asked?.abort();
    this.#asked = new AbortController();
    this.#answer = this.#fetch(this.#asked.signal, isPasted);
  }

  async #fetch(signal, isPasted) {
    try {
      const words = new URLSearchParams({ q: this.input.value.toWellFormed() });
      const answer = await fetch(`${this.dataset.url}?${words}`, { signal });
      if (!answer.ok || answer.redirected) throw new Error(`the dashboard answered ${answer.status}`);
      this.list.replaceChildren(fromHtml(await answer.text()));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.list.replaceChildren();
      return text(this.querySelector("[role=status]"), "The dashboard does not answer");
    }
    showTimes(this.list);
    text(this.querySelector("[role=status]"), `${this.list.children.length} places`);
    this.#choose(0);
    const exact = this.list.querySelector("[data-exact]");
    if (isPasted && exact) this.#go(exact);
  }

  async #press(press) {
    const last = this.list.children.length - 1;
    const to = { ArrowDown: this.#at + 1, ArrowUp: this.#at - 1, PageDown: this.#at + 8, PageUp: this.#at - 8 }[press.key];
    if (to !== undefined) {
      press.preventDefault();
      const wraps = press.key.startsWith("Arrow");
      this.#choose(wraps ? (to + last + 1) % (last + 1) : Math.min(last, Math.max(0, to)));
    } else if (press.key === "Enter") {
      press.preventDefault();
      await this.#answer; // to what was typed, not to what is still shown
      this.#go(this.list.children[this.#at], press.ctrlKey || press.metaKey);
    }
  }

  #choose(at) {
    set(this.list.children[this.#at], "aria-selected", "false");
    this.#at = at;
    const option = this.list.children[at];
    set(this.input, "aria-activedescendant", option?.id);
    if (!option) return;
    set(option, "aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
  }

  #go(option, inNewTab = false) {
    if (!option) return;
    const { href, command } = option.dataset;
    this.dialog.close();
    if (command) commands[command]?.();
    else if (inNewTab) window.open(href, "_blank", "noopener");
    else location.assign(href);
  }
}

customElements.define("palette-box", PaletteBox);
