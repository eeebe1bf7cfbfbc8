// <refreshed-page>: takes its server-rendered body in again every few seconds, while somebody looks. Focus and scroll stay.
import { fetchPart } from "./fetch-part.js";
import { fromHtml } from "./dom.js";
import { live } from "./live.js";

const EVERY_MS = 3000;
const MOST_KEPT = 200; // rows that pile up below a pointer that stays

class RefreshedPage extends HTMLElement {
  connectedCallback() {
    this.target = this.querySelector("[data-body]");
    this.addEventListener("htmx:beforeSwap", ({ detail }) => this.#steady(detail));
    // Only the answer tells: htmx settles its promise whatever came.
    this.addEventListener("htmx:afterOnLoad", ({ detail }) => this.#tell(detail.xhr.status === 200));
    this.addEventListener("htmx:sendError", () => this.#tell(false));
    document.addEventListener("visibilitychange", () => document.hidden || this.#again());
    live.addEventListener("switch", ({ detail }) => {
      if (detail.isStopped) this.#say("paused", "paused: the palette resumes");
      else this.#again();
    });
    this.#tell(true);
    this.timer = setInterval(() => document.hidden || this.#again(), this.#everyMs());
  }

  disconnectedCallback() {
    clearInterval(this.timer);
  }

  #everyMs() {
    return Number(this.dataset.every) || EVERY_MS;
  }

  async #again() {
    if (this.busy || live.isStopped) return;
    this.busy = true;
    await fetchPart(this.dataset.url, this.target);
    this.busy = false;
  }

  // Nothing moves under the pointer: while it, or the focus, is on rows, they stay in the order in which they are.
  #steady(detail) {
    const used = [...this.querySelectorAll("[data-steady]")].filter((rows) => rows.matches(":hover, :focus-within"));
    if (!used.length || detail.xhr.status !== 200) return;
    const fresh = fromHtml(detail.serverResponse);
    for (const rows of used) keepOrder(rows, fresh.getElementById(rows.id));
    const holder = document.createElement("div");
    holder.append(fresh);
    detail.serverResponse = holder.innerHTML;
  }

  #tell(well) {
    if (live.isStopped) return;
    if (well) this.#say("live", `live, every ${this.#everyMs() / 1000} s`);
    else this.#say("offline", "the dashboard does not answer; still trying");
  }

  #say(status, text) {
    live.dispatchEvent(new CustomEvent("status", { detail: { status, text } }));
  }
}

// Rows that are gone stay too until the reader has left, dimmed; new ones come last.
function keepOrder(shown, fresh) {
  if (!fresh) return;
  const coming = new Map([...fresh.children].map((row) => [row.id, row]));
  const kept = [...shown.children].map((row) => coming.get(row.id) ?? gone(row));
  const added = [...coming.values()].filter((row) => !kept.includes(row));
  fresh.replaceChildren(...kept, ...added.slice(0, Math.max(0, MOST_KEPT - kept.length)));
}

function gone(row) {
  const copy = row.cloneNode(true);
  copy.classList.add("gone");
  return copy;
}

customElements.define("refreshed-page", RefreshedPage);
