// <auto-submit>: sends the form within it as soon as the page is shown. Without JavaScript its button does.
class AutoSubmit extends HTMLElement {
  connectedCallback() {
    this.querySelector("form")?.requestSubmit();
  }
}

customElements.define("auto-submit", AutoSubmit);
