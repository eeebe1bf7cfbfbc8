// <choose-rows>: tick boxes of a table: one for all that are shown, how many are ticked, and they outlive a refresh.
class ChooseRows extends HTMLElement {
  connectedCallback() {
    this.chosen = new Set(this.#boxes().filter((box) => box.checked).map((box) => box.value)); // ticked before we came
    this.addEventListener("change", ({ target }) => this.#changed(target));
    this.afterSwap = () => this.#show();
    document.addEventListener("htmx:afterSwap", this.afterSwap);
    this.#show();
  }

  disconnectedCallback() {
    document.removeEventListener("htmx:afterSwap", this.afterSwap);
  }

  #boxes() {
    return [...this.querySelectorAll('input[name="letter"]')];
  }

  #changed(box) {
    const boxes = box.matches("[data-all]") ? this.#boxes() : [box];
    for (const one of boxes) this.chosen[box.checked ? "add" : "delete"](one.value);
    this.#show();
  }

  #show() {
    const boxes = this.#boxes();
    for (const box of boxes) box.checked = this.chosen.has(box.value);
    const count = boxes.filter((box) => box.checked).length;
    const all = this.querySelector("[data-all]");
    all.hidden = false;
    all.checked = count > 0 && count === boxes.length;
    all.indeterminate = count > 0 && count < boxes.length;
    const told = this.querySelector("[data-told]");
    told.dataset.first ??= told.textContent;
    told.textContent = count ? `${count === boxes.length ? `All ${count} shown are` : `${count} of ${boxes.length} shown ${count === 1 ? "is" : "are"}`} selected. ${told.dataset.first}` : told.dataset.first;
  }
}

customElements.define("choose-rows", ChooseRows);
