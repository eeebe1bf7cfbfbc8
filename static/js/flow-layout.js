// Where cards go, of a trace or of the map: one column per generation, tops aligned, what was placed stays. Knows no DOM.
import { isBlank } from "./trace-model.js";

export const CARD = { width: 320, head: 48, row: 26, foot: 26, gapX: 32, gapY: 16 };

export function height(card) {
  if (card.kind === "fold") return 64;
  if (isBlank(card)) return CARD.head + 8;
  return CARD.head + Math.max(1, card.lanes.length) * CARD.row + CARD.foot;
}

// y of the middle of a lane's row; of the header for what no lane published.
export function port(card, group) {
  const at = card.lanes.findIndex((lane) => lane.group === group);
  return at < 0 ? CARD.head / 2 : CARD.head + CARD.row * (at + 0.5) + 1;
}

export const TRACE_SHAPE = {
  height,
  gapY: CARD.gapY,
  x: (depth) => depth * (CARD.width + CARD.gapX),
  width: () => CARD.width,
};

export class FlowLayout {
  #places = new Map();

  constructor(shape = TRACE_SHAPE) {
    this.shape = shape;
  }

  // Cards in reading order → Map key → {x, y, width, height}. A new card takes the first free place at or
  // below its parent's top and below the card that precedes it in its column; no placed card moves for it.
  place(cards) {
    const last = new Map();
    const columns = this.#columns(cards);
    for (const card of cards) {
      const column = columns.get(card.depth) ?? columns.set(card.depth, []).get(card.depth);
      const old = this.#places.get(card.key);
      const wanted = Math.max(card.parent ? this.#places.get(card.parent.key).y : 0, last.get(card.depth) ?? 0);
      const place = old ?? {
        x: this.shape.x(card.depth),
        y: 0,
        width: this.shape.width(card.depth),
        height: this.shape.height(card),
      };
      if (!old) {
        place.y = freeFrom(wanted, place.height, column, this.shape.gapY);
        insert(column, place);
        this.#places.set(card.key, place);
      }
      last.set(card.depth, place.y + place.height + this.shape.gapY);
    }
    for (const column of columns.values()) separate(column, this.shape.gapY);
    return this.#places;
  }

  // Forget where things were: the next placing is as tidy as a fresh page.
  clear() {
    this.#places.clear();
  }

  #columns(cards) {
    const columns = new Map();
    const present = new Map(cards.map((card) => [card.key, card]));
    for (const [key, place] of this.#places) {
      const card = present.get(key);
      if (!card) {
        this.#places.delete(key);
        continue;
      }
      place.height = this.shape.height(card);
      if (columns.has(card.depth)) columns.get(card.depth).push(place);
      else columns.set(card.depth, [place]);
    }
    for (const column of columns.values()) column.sort((a, b) => a.y - b.y);
    return columns;
  }
}

// How many places of a column, which is in order, begin above `y`.
function above(column, y) {
  let [low, high] = [0, column.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (column[middle].y < y) low = middle + 1;
    else high = middle;
  }
  return low;
}

function insert(column, place) {
  column.splice(above(column, place.y), 0, place);
}

function freeFrom(wanted, tall, column, gap) {
  let y = wanted;
  for (let at = Math.max(0, above(column, wanted) - 1); at < column.length; at++) {
    const taken = column[at];
    if (taken.y + taken.height + gap <= y) continue;
    if (taken.y - gap >= y + tall) break;
    y = taken.y + taken.height + gap;
  }
  return y;
}

// A card that grew (a group subscribed late) pushes down only what it would cover.
function separate(column, gap) {
  let floor = -Infinity;
  for (const place of column.sort((a, b) => a.y - b.y)) {
    place.y = Math.max(place.y, floor);
    floor = place.y + place.height + gap;
  }
}

export function extent(places) {
  let [width, tall] = [0, 0];
  for (const place of places.values()) {
    width = Math.max(width, place.x + place.width);
    tall = Math.max(tall, place.y + place.height);
  }
  return { width, height: tall };
}

export function curve(x1, y1, x2, y2) {
  const bend = Math.max(24, (x2 - x1) / 2);
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}

// Into the right side of a card further left, or of the same column: in the gaps between columns, never behind cards.
export function curveBack(from, y1, to, y2) {
  const start = to.x < from.x ? from.x : from.x + from.width;
  const end = to.x + to.width;
  const bend = to.x < from.x ? Math.min(-24, (end - start) / 2) : 24;
  return `M${start} ${y1}C${start + bend} ${y1} ${end + Math.abs(bend)} ${y2} ${end} ${y2}`;
}

const CORNER = 6;

// Right, up or down a trunk at `x1 + turn`, right again: siblings share the trunk instead of filling the gap with lines.
export function elbow(x1, y1, x2, y2, turn) {
  const corner = Math.min(CORNER, Math.abs(y2 - y1) / 2);
  if (corner < 1) return `M${x1} ${y1}L${x2} ${y2}`;
  const [x, way] = [x1 + turn, Math.sign(y2 - y1)];
  return `M${x1} ${y1}H${x - corner}Q${x} ${y1} ${x} ${y1 + way * corner}V${y2 - way * corner}Q${x} ${y2} ${x + corner} ${y2}H${x2}`;
}

// Where each lane's trunk stands, so that trunks cross least: going up the upper lane turns first, going down the lower one.
export function turn(card, group, goesDown) {
  const share = (card.lanes.findIndex((lane) => lane.group === group) + 1) / (card.lanes.length + 1);
  return CARD.gapX * (goesDown ? 1 - share : share) * 0.8 + CARD.gapX * 0.1;
}
