// The page's one socket: watches one subject, acknowledges what was painted, comes back where it was.
import { learn } from "./clock.js";
import { count } from "./words.js";

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 5_000;
const SAMPLES = 200;
const ANSWER_MS = 100;

// Once for all frames that were painted in a while: each answer costs the server as much as a frame.
function acknowledge(socket, seq) {
  if (!socket.owed)
    setTimeout(() => {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "ack", seq: socket.owed }));
      socket.owed = 0;
    }, ANSWER_MS);
  socket.owed = seq;
}

class Live extends EventTarget {
  #socket = null;
  #subject = null;
  #show = null;
  #failures = 0;
  #timer = 0;
  #delays = [];
  #isStopped = false; // by the reader
  #wasLive = false; // what came between the page and its first frame is no news to the reader

  // `subject` is a function: it names the cursor that the page has reached by then.
  watch(subject, show) {
    this.#subject = subject;
    this.#show = show;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#pause() : this.#open()));
    addEventListener("online", () => this.#open());
    if (document.hidden) this.#pause();
    else this.#open();
  }

  // Pause or resume, as the reader says. What was missed comes with the resumption.
  switch() {
    this.#isStopped = !this.#isStopped;
    if (this.#isStopped) this.#pause("paused: the palette resumes");
    else this.#open();
    this.dispatchEvent(new CustomEvent("switch", { detail: { isStopped: this.#isStopped } }));
  }

  get isStopped() {
    return this.#isStopped;
  }

  // Other filters, same socket.
  again() {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#ask();
  }

  delay(ms) {
    if (!(ms >= 0)) return;
    this.#delays.push(ms);
    if (this.#delays.length > SAMPLES) this.#delays.shift();
    const sorted = [...this.#delays].sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
    this.#tell("delay", { p50: at(0.5), p95: at(0.95), samples: sorted.length });
  }

  #open() {
    clearTimeout(this.#timer);
    if (this.#socket || document.hidden || this.#isStopped || !this.#subject) return;
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live/`);
    this.#socket = socket;
    socket.addEventListener("open", () => (socket === this.#socket ? this.#ask() : socket.close()));
    socket.addEventListener("message", (message) => this.#take(socket, JSON.parse(message.data)));
    socket.addEventListener("close", () => this.#lost(socket));
  }

  #ask() {
    this.#socket.send(JSON.stringify({ type: "watch", watch: this.#subject() }));
  }

  #take(socket, frame) {
    const received = performance.now();
    this.#failures = 0;
    learn(frame.now_ms ?? frame.trace?.now_ms);
    if (frame.kind === "resumed") this.#resumed(frame);
    else if (frame.kind === "server") this.#tell("server", { text: frame.text });
    else if (frame.kind === "error") this.#tell("status", { status: "offline", text: frame.text });
    else {
      this.#wasLive = true;
      this.#tell("status", { status: "live" });
      this.#show(frame);
    }
    // Two steps: the frame callback runs before the paint, the task behind it after.
    requestAnimationFrame(() =>
      setTimeout(() => {
        if (frame.kind === "tail" && frame.delay_ms !== null) this.delay(frame.delay_ms + performance.now() - received);
        if (frame.seq) acknowledge(socket, frame.seq);
      }),
    );
  }

  #resumed({ missed, text }) {
    this.#tell("status", { status: "live" });
    if (this.#wasLive && (missed || text)) this.#tell("caught-up", { words: text || count(missed) });
  }

  #lost(socket) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    this.#failures += 1;
    const limit = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures);
    const wait = limit / 2 + Math.random() * (limit / 2);
    this.#tell("status", { status: this.#failures > 4 ? "offline" : "reconnecting", retryMs: wait });
    this.#timer = setTimeout(() => this.#open(), wait);
  }

  // A hidden page draws nothing, so it would only hold frames back on the server.
  #pause(words) {
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#timer);
    if (socket?.readyState === WebSocket.OPEN) socket.close(); // one that still opens closes itself, silently
    this.#tell("status", { status: "paused", text: words });
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

export const live = new Live();
