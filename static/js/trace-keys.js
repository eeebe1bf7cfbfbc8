// Where an arrow key leads from the stop at `at`: up and down in reading order, left to the cause, right to the effect.
export function neighbour(all, at, key) {
  const stop = all[at];
  const find = (card, group) => all.find((one) => one.card === card && one.group === group);
  if (key === "ArrowDown" || key === "j") return all[at + 1];
  if (key === "ArrowUp" || key === "k") return all[at - 1];
  if (key === "ArrowLeft")
    return stop.group ? find(stop.card, null) : stop.card.parent && find(stop.card.parent, stop.card.via);
  if (key !== "ArrowRight") return null;
  if (!stop.group && all[at + 1]?.card === stop.card) return all[at + 1];
  const child = stop.card.children.find((card) => !stop.group || card.via === stop.group);
  return child && find(child, null);
}

const TYPING = "input:not([type=range]), select, textarea, dialog[open]";
const NODE = "[data-stop], .time-name, .seq-step"; // Enter selects these, so that space is left to play
const OWN_SPACE = "button, a, summary, input[type=range]";
const OWN_ARROWS = `${NODE}, input[type=range], pre, [role=tree], .side`;

// Keys that work wherever the focus is on the page, but for where somebody types.
export function pageKey(press, page) {
  if (press.ctrlKey || press.metaKey || press.altKey || press.defaultPrevented) return;
  if (press.target.closest(TYPING)) return;
  const act = action(press, page);
  if (!act) return;
  press.preventDefault();
  act();
}

function action({ key, target }, page) {
  const step = (by) => () => page.dispatchEvent(new CustomEvent("step", { detail: by }));
  if (key === "n") return () => page.error(1);
  if (key === "p") return () => page.error(-1);
  if (key === ".") return step(1);
  if (key === ",") return step(-1);
  if (key === " " && (target.closest(NODE) || !target.closest(OWN_SPACE)))
    return () => page.dispatchEvent(new Event("play"));
  if (target.closest(OWN_ARROWS)) return null;
  return { ArrowRight: step(1), ArrowLeft: step(-1) }[key] ?? null;
}
