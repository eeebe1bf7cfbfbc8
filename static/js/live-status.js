// <live-status>: how live this page is, in the footer; the delay beside it is measured, never promised.
import { set, text } from "./dom.js";
import { live } from "./live.js";
import { duration } from "./words.js";

const NOTICE_MS = 8000;
const WORDS = {
  live: "live",
  reconnecting: "reconnecting",
  offline: "offline, still trying",
  paused: "paused while this tab is hidden",
};

class LiveStatus extends HTMLElement {
  connectedCallback() {
    live.addEventListener("status", ({ detail }) => this.#show(detail));
    live.addEventListener("caught-up", ({ detail }) => this.#notice(`caught up ${detail.words} events`, NOTICE_MS));
    live.addEventListener("server", ({ detail }) =>
      this.#notice(detail.text && `the bus does not answer: ${detail.text}`),
    );
    live.addEventListener("delay", ({ detail }) => {
      const words = `publish → ${detail.to ?? "screen"} p50 ${duration(detail.p50)} · p95 ${duration(detail.p95)}`;
      text(document.querySelector("[data-delay]"), words);
    });
  }

  #show({ status, text: words }) {
    this.querySelector(".dot").dataset.status = status;
    text(this.querySelector("[role=status]"), words ?? WORDS[status]);
  }

  // Stays until the next one, or for so long.
  #notice(words, ms) {
    const node = this.querySelector(".notice");
    text(node, words);
    set(node, "title", words);
    clearTimeout(this.timer);
    if (ms) this.timer = setTimeout(() => text(node, ""), ms);
  }
}

customElements.define("live-status", LiveStatus);
