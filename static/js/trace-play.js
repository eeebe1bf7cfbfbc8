// <trace-play>: replays the trace as it happened. The slider has one stop per moment, so an arrow key is the next one.
import { h, icon, changeIcon, set, text } from "./dom.js";
import { indexAt, moments } from "./trace-moment.js";
import { drawTicks } from "./play-ticks.js";
import { count, duration } from "./words.js";

const SPEEDS = [0.1, 0.5, 1, 2, 10, 100];
const LONGEST_PAUSE_MS = 600; // on the screen: a longer gap in which nothing happens is skipped

class TracePlay extends HTMLElement {
  #speed = 1;
  #frame = 0;

  connectedCallback() {
    this.page = this.closest("trace-page");
    this.#build();
    this.page.addEventListener("trace", () => this.#renew());
    this.page.addEventListener("moment", () => this.#show());
    this.page.addEventListener("play", () => this.toggle());
    this.page.addEventListener("step", (step) => this.step(step.detail));
    new ResizeObserver(() => drawTicks(this.ticks, this.moments)).observe(this.ticks);
    new MutationObserver(() => drawTicks(this.ticks, this.moments)).observe(document.documentElement, {
      attributeFilter: ["data-theme"],
    });
    this.#renew();
  }

  #build() {
    this.button = control("Play (space)", "play", () => this.toggle());
    this.slider = h("input", { type: "range", min: 0, step: 1, "aria-label": "Moment" });
    this.slider.addEventListener("input", () => this.#seekTo(Number(this.slider.value)));
    this.slider.addEventListener("change", () => this.page.remember());
    this.ticks = h("canvas", { class: "play-ticks", "aria-hidden": "true" });
    this.label = h("output", { class: "play-label num" });
    const speed = h("select", { "aria-label": "Speed" }, ...SPEEDS.map((one) => h("option", { value: one }, `${one}×`)));
    speed.value = this.#speed;
    speed.addEventListener("change", () => (this.#speed = Number(speed.value)));
    this.now = h("button", { type: "button", class: "button play-now" }, h("i", { class: "dot" }), h("span"));
    this.now.addEventListener("click", () => this.#end());
    this.append(
      control("Previous moment (,)", "step-back", () => this.step(-1)),
      this.button,
      control("Next moment (.)", "step-forward", () => this.step(1)),
      h("span", { class: "play-track" }, this.ticks, this.slider),
      this.label,
      speed,
      this.now,
    );
  }

  #renew() {
    this.moments = moments(this.page.trace);
    this.slider.max = Math.max(0, this.moments.length - 1);
    drawTicks(this.ticks, this.moments);
    this.#show();
  }

  get #index() {
    return this.page.at === null ? this.moments.length - 1 : indexAt(this.moments, this.page.at);
  }

  #show() {
    const { at, trace } = this.page;
    const index = this.#index;
    this.slider.value = index;
    const start = this.moments[0]?.at ?? 0;
    const past = duration(Math.max(0, (at ?? this.moments.at(-1)?.at ?? start) - start));
    text(this.label, `+${past}`);
    set(this.slider, "aria-valuetext", `${past} after the first event, moment ${count(index + 1)} of ${count(this.moments.length)}`);
    text(this.now.lastChild, trace.complete ? "End" : "Now");
    set(this.now, "aria-pressed", String(at === null));
    set(this.now.firstChild, "data-status", at === null && !trace.complete ? "live" : "paused");
  }

  // The last moment of all is no moment: it is now, and follows.
  #seekTo(index) {
    this.page.seek(index >= this.moments.length - 1 ? null : this.moments[Math.max(0, index)].at);
  }

  step(by) {
    this.#pause();
    this.#seekTo(this.#index + by);
    this.page.remember();
  }

  toggle() {
    if (this.#frame) return this.#pause();
    if (this.page.at === null) this.#seekTo(0);
    this.clock = this.page.at ?? 0;
    this.told = performance.now();
    changeIcon(this.button, "pause");
    set(this.button, "aria-label", "Pause (space)");
    set(this.button, "title", "Pause (space)");
    this.#frame = requestAnimationFrame((time) => this.#turn(time));
  }

  #turn(time) {
    const next = this.moments[this.#index + 1];
    if (this.page.at === null || !next) return this.#pause();
    this.clock += Math.max(0, time - this.told) * this.#speed;
    this.told = time;
    this.clock = Math.max(this.clock, next.at - LONGEST_PAUSE_MS * this.#speed);
    const index = indexAt(this.moments, this.clock);
    if (index > this.#index) this.#seekTo(index);
    else text(this.label, `+${duration(this.clock - this.moments[0].at)}`);
    this.#frame = requestAnimationFrame((again) => this.#turn(again));
  }

  #pause() {
    if (!this.#frame) return;
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    changeIcon(this.button, "play");
    set(this.button, "aria-label", "Play (space)");
    set(this.button, "title", "Play (space)");
    this.page.remember();
  }

  #end() {
    this.#pause();
    this.page.seek(null);
    this.page.remember();
  }
}

function control(words, picture, act) {
  const button = h(
    "button",
    { type: "button", class: "icon-button", title: words, "aria-label": words },
    icon(picture),
  );
  button.addEventListener("click", act);
  return button;
}

customElements.define("trace-play", TracePlay);
