// Which part of a trace's graph is in view, and the edges that cross it. Knows no elements but the scroller's box.
import { CARD, elbow, port, turn } from "./flow-layout.js";

const AROUND = 320; // pixels of the screen that are drawn beyond each side
const SLACK = 160; // as far as the reader may scroll before more has to be drawn

export function viewOf(scroller, scene) {
  const zoom = Number(scene.style.zoom || 1);
  const box = boxOf(scroller, zoom);
  const around = AROUND / zoom;
  return {
    left: box.left - around,
    top: box.top - around,
    right: box.right + around,
    bottom: box.bottom + around,
    holds(later, scaled) {
      if (Number(scaled.style.zoom || 1) !== zoom) return false;
      const now = boxOf(later, zoom);
      const slack = (AROUND - SLACK) / zoom;
      return (
        now.left - slack >= this.left &&
        now.top - slack >= this.top &&
        now.right + slack <= this.right &&
        now.bottom + slack <= this.bottom
      );
    },
  };
}

function boxOf({ scrollLeft, scrollTop, clientWidth, clientHeight }, zoom) {
  return {
    left: scrollLeft / zoom,
    top: scrollTop / zoom,
    right: (scrollLeft + clientWidth) / zoom,
    bottom: (scrollTop + clientHeight) / zoom,
  };
}

export function inView({ x, y, width, height }, { left, top, right, bottom }) {
  return x < right && x + width > left && y < bottom && y + height > top;
}

// Edges to cards in view, and of those that only pass through, one per trunk and way: they lie on each other.
export function edges(cards, places, view) {
  const found = [];
  const passing = new Map();
  for (const card of cards) {
    if (!card.parent) continue;
    const edge = edgeTo(card, places);
    const box = { x: edge.x1, y: Math.min(edge.y1, edge.y2), width: edge.x2 - edge.x1, height: Math.abs(edge.y2 - edge.y1) };
    if (!inView(box, view)) continue;
    if (edge.y2 > view.top && edge.y2 < view.bottom) found.push(edge);
    else passing.set(`${card.parent.key} ${card.via} ${Math.sign(edge.y2 - edge.y1)}`, edge);
  }
  return [...found, ...passing.values()].map(drawn);
}

function edgeTo(card, places) {
  const from = places.get(card.parent.key);
  const to = places.get(card.key);
  const [y1, y2] = [from.y + port(card.parent, card.via), to.y + CARD.head / 2];
  return { card, x1: from.x + CARD.width, y1, x2: to.x, y2 };
}

function drawn({ card, x1, y1, x2, y2 }) {
  const path = elbow(x1, y1, x2, y2, turn(card.parent, card.via, y2 > y1));
  return { key: card.key, path, later: Boolean(card.event.later) };
}
