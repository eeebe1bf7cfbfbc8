// Panning is scrolling (and dragging the background); zooming is a scale that hides text before it gets too small to read.
import { h, icon, text } from "./dom.js";

const STEPS = [0.35, 0.5, 0.7, 1, 1.25, 1.5];
const READABLE = 0.95; // below it, cards show shapes and a title that keeps its size

export function panAndZoom(scroller, scene, tidy) {
  let at = STEPS.indexOf(1);
  const label = h("span", { class: "zoom-label num" }, "100%");

  function zoom(to, x = 0, y = 0) {
    const next = Math.min(STEPS.length - 1, Math.max(0, to));
    const ratio = STEPS[next] / STEPS[at];
    at = next;
    scene.style.zoom = STEPS[at];
    scene.style.setProperty("--zoom", STEPS[at]);
    scene.classList.toggle("far", STEPS[at] < READABLE);
    scroller.scrollLeft = (scroller.scrollLeft + x) * ratio - x;
    scroller.scrollTop = (scroller.scrollTop + y) * ratio - y;
    text(label, `${Math.round(STEPS[at] * 100)}%`);
    scroller.dispatchEvent(new Event("scroll")); // what is in view changed, even where nothing scrolled
  }

  function fit() {
    const wanted = Math.min(scroller.clientWidth / scene.offsetWidth, scroller.clientHeight / scene.offsetHeight);
    zoom(
      Math.max(
        0,
        STEPS.findLastIndex((step) => step <= Math.min(1, wanted)),
      ),
    );
    scroller.scrollTo(0, 0);
  }

  scroller.addEventListener(
    "wheel",
    (wheel) => {
      if (!wheel.ctrlKey) return;
      wheel.preventDefault();
      const box = scroller.getBoundingClientRect();
      zoom(at + (wheel.deltaY < 0 ? 1 : -1), wheel.clientX - box.left, wheel.clientY - box.top);
    },
    { passive: false },
  );
  drag(scroller);

  const button = (words, picture, act) => {
    const node = h(
      "button",
      { type: "button", class: "icon-button small", title: words, "aria-label": words },
      icon(picture),
    );
    node.addEventListener("click", act);
    return node;
  };
  return h(
    "div",
    { class: "graph-tools", role: "group", "aria-label": "Zoom" },
    button("Zoom out", "minus", () => zoom(at - 1)),
    label,
    button("Zoom in", "plus", () => zoom(at + 1)),
    button("Fit the whole graph", "fit", fit),
    button("Tidy up: place everything anew", "tidy", tidy),
  );
}

function drag(scroller) {
  let from = null;
  scroller.addEventListener("pointerdown", (down) => {
    if (down.button !== 0 || down.pointerType === "touch" || down.target.closest("button, a, p")) return;
    from = { x: down.clientX + scroller.scrollLeft, y: down.clientY + scroller.scrollTop };
    scroller.setPointerCapture(down.pointerId);
    scroller.classList.add("dragging");
  });
  scroller.addEventListener(
    "pointermove",
    (move) => from && scroller.scrollTo(from.x - move.clientX, from.y - move.clientY),
  );
  for (const end of ["pointerup", "pointercancel"]) {
    scroller.addEventListener(end, () => {
      from = null;
      scroller.classList.remove("dragging");
    });
  }
}
