// The list as of the moment that is shown: the server's own rows, those of later hidden, states as they were.
import { changeIcon, set, text } from "./dom.js";
import { duration, look } from "./words.js";

export function showListAsOf(list, trace) {
  const events = new Map(trace.events.map((event) => [event.id, event]));
  for (const row of list.querySelectorAll("tr[data-event]")) {
    const event = events.get(row.dataset.event);
    if (!event) continue;
    row.classList.toggle("later", Boolean(event.later));
    const lane = event.lanes.find((one) => one.group === row.dataset.group);
    if (lane) showLane(row, lane);
  }
}

function showLane(row, lane) {
  const state = row.querySelector(".state");
  const name = look(lane);
  set(state, "class", `state state-${name}`);
  changeIcon(state, `state-${name}`);
  text(state.lastChild, lane.label);
  const [settled, ran, note] = ["settled", "ran", "note"].map((part) => row.querySelector(`[data-part=${part}]`));
  settled.classList.toggle("later", !lane.settled_ms);
  text(ran, lane.duration_us ? duration(lane.duration_us / 1000) : "–");
  text(note, lane.note);
  for (const [at, mark] of [...row.querySelectorAll(".marks i")].entries()) {
    const attempt = lane.attempts.slice(-8)[at];
    set(mark, "class", attempt ? `a-${attempt.state}` : "a-left");
  }
}
