// <search-box>: suggestions under a query's input (fields, and values that exist). Without JavaScript it is a plain input.
import { h } from "./dom.js";

class SearchBox extends HTMLElement {
  #asked = null;
  #found = [];
  #at = -1;

  connectedCallback() {
    this.input = this.querySelector("input");
    this.list = this.querySelector("ul");
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Suggestions");
    for (const [name, value] of Object.entries({
      role: "combobox",
      "aria-autocomplete": "list",
      "aria-expanded": "false",
      "aria-controls": this.list.id,
    }))
      this.input.setAttribute(name, value);
    this.input.addEventListener("input", () => this.#ask());
    this.input.addEventListener("click", () => this.#ask());
    this.input.addEventListener("blur", () => this.#show([]));
    this.input.addEventListener("keydown", (press) => this.#press(press));
    this.list.addEventListener("pointerdown", (press) => this.#choose(press));
  }

  async #ask() {
    this.#asked?.abort();
    this.#asked = new AbortController();
    const { value, selectionStart } = this.input;
    const words = new URLSearchParams({ q: value, cursor: selectionStart });
    if (this.dataset.topic) words.set("topic", this.dataset.topic);
    try {
      const answer = await fetch(`${this.dataset.url}?${words}`, { signal: this.#asked.signal });
      if (!answer.ok || document.activeElement !== this.input) return;
      const { suggestions } = await answer.json();
      this.#show(suggestions.map((one) => ({ ...one, after: value.length - one.end })));
    } catch {
      // Asked anew meanwhile, or the server is away: the box works without suggestions.
    }
  }

  #show(found) {
    const isSame = found.length && found.map((one) => one.text).join("\n") === this.#found.map((one) => one.text).join("\n");
    const chosen = this.#found[this.#at]?.text;
    this.#found = found;
    if (isSame) return;
    this.#at = -1;
    this.list.replaceChildren(
      ...found.map((one, index) =>
        h(
          "li",
          { role: "option", id: `${this.list.id}-${index}`, "aria-selected": "false", "data-index": index },
          h("code", {}, one.text),
          h("span", {}, one.meaning),
        ),
      ),
    );
    this.list.hidden = !found.length;
    this.input.setAttribute("aria-expanded", String(Boolean(found.length)));
    this.input.removeAttribute("aria-activedescendant");
    const kept = found.findIndex((one) => one.text === chosen);
    if (kept >= 0) this.#move(kept + 1); // what the reader has chosen meanwhile stays chosen
  }

  #press(press) {
    if (this.list.hidden) {
      if (press.key === "ArrowDown") this.#ask();
      return;
    }
    if (press.key === "ArrowDown") this.#move(1);
    else if (press.key === "ArrowUp") this.#move(-1);
    else if (press.key === "Enter" && this.#at >= 0) this.#take(this.#found[this.#at]);
    else if (press.key === "Escape") this.#show([]);
    else return;
    press.preventDefault();
  }

  #move(by) {
    const options = [...this.list.children];
    options[this.#at]?.setAttribute("aria-selected", "false");
    this.#at = (this.#at + by + options.length + (this.#at < 0 && by < 0 ? 1 : 0)) % options.length;
    options[this.#at].setAttribute("aria-selected", "true");
    options[this.#at].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", options[this.#at].id);
  }

  #choose(press) {
    const option = press.target.closest("[data-index]");
    press.preventDefault(); // the input keeps the focus
    if (option) this.#take(this.#found[Number(option.dataset.index)]);
  }

  #take(one) {
    this.#asked?.abort(); // its answer would be about what was typed before
    const goesOn = /[:.]$/.test(one.text); // a field: its value follows
    const end = Math.max(this.input.value.length - one.after, one.start); // with what was typed since it was asked for
    this.input.setRangeText(goesOn ? one.text : `${one.text} `, one.start, end, "end");
    this.#show([]);
    if (goesOn) this.#ask();
  }
}

customElements.define("search-box", SearchBox);
