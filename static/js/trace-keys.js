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
