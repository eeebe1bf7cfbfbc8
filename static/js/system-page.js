// <system-page>: takes the server-rendered body in again every few seconds, while somebody looks. Focus and scroll stay.
import { fetchPart } from "./fetch-part.js";
import { live } from "./live.js";

const EVERY_MS = 3000;

class SystemPage extends HTMLElement {
  connectedCallback() {
    this.target = this.querySelector("#system-body");
    // Only the answer tells: htmx settles its promise whatever came.
    this.addEventListener("htmx:afterOnLoad", ({ detail }) => this.#tell(detail.xhr.status === 200));
    this.addEventListener("htmx:sendError", () => this.#tell(false));
    document.addEventListener("visibilitychange", () => document.hidden || this.#again());
    this.#tell(true);
    this.timer = setInterval(() => document.hidden || this.#again(), EVERY_MS);
  }

  disconnectedCallback() {
    clearInterval(this.timer);
  }

  async #again() {
    if (this.busy) return;
    this.busy = true;
    await fetchPart(this.dataset.url, this.target);
    this.busy = false;
  }

  #tell(well) {
    const detail = well
      ? { status: "live", text: `live, every ${EVERY_MS / 1000} s` }
      : { status: "offline", text: "the dashboard does not answer; still trying" };
    live.dispatchEvent(new CustomEvent("status", { detail }));
  }
}

customElements.define("system-page", SystemPage);
