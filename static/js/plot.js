// One chart, drawn by uPlot. Colours come from the keys beside its title, so that they follow the theme.
import { measured } from "./words.js";

const GAP = "group"; // charts with the same key share one crosshair
const FONT = "11px Inter, system-ui, sans-serif";
const SIDE = 52; // both sides alike, so that one moment is at one place in all charts
const root = document.documentElement;

export function drawn(figure, series, show) {
  const holder = figure.querySelector("[data-canvas]");
  const keys = [...figure.querySelectorAll("[data-line]")].map(({ dataset, firstElementChild }) => ({
    ...dataset,
    colour: getComputedStyle(firstElementChild).color,
  }));
  const seconds = series.at_ms.map((ms) => ms / 1000);
  const chart = new window.uPlot(
    options(figure, holder, keys, show),
    [seconds, ...keys.map((key) => series[key.line])],
    holder,
  );
  return {
    fit: () => holder.clientWidth && chart.setSize({ width: holder.clientWidth, height: holder.clientHeight }),
    point: (at) => chart.setCursor({ left: chart.valToPos(seconds[at], "x"), top: 8 }, false),
    remove: () => chart.destroy(),
  };
}

function options(figure, holder, keys, show) {
  const units = [...new Set(keys.map((key) => key.unit))];
  const quiet = getComputedStyle(figure).color;
  const line = getComputedStyle(holder).borderTopColor;
  const grid = { stroke: line, width: 1 };
  return {
    width: Math.max(holder.clientWidth, 100),
    height: holder.clientHeight,
    legend: { show: false },
    padding: [8, units.length > 1 ? 0 : SIDE, 0, 0],
    tzDate: zoned,
    cursor: {
      sync: { key: GAP },
      y: false,
      drag: { x: false, y: false },
      points: { size: 6, width: 1 },
    },
    scales: Object.fromEntries(units.map((unit) => [unit, { range: fromZero(unit) }])),
    axes: [
      {
        stroke: quiet,
        font: FONT,
        size: 24,
        gap: 4,
        space: 64,
        grid: { show: false },
        ticks: { ...grid, size: 4 },
        values: (_, seconds) => seconds.map(clock),
      },
      ...units.map((unit, at) => ({
        scale: unit,
        side: at ? 1 : 3,
        stroke: quiet,
        font: FONT,
        size: SIDE,
        gap: 4,
        space: 28,
        grid: at ? { show: false } : grid,
        ticks: { show: false },
        values: (_, values) => values.map((value) => measured(value, unit)),
      })),
    ],
    series: [{}, ...keys.map((key) => stroke(key))],
    hooks: { setCursor: [({ cursor }) => cursor.event && show(cursor.idx ?? null)] },
  };
}

function zoned(seconds) {
  const date = new Date(seconds * 1000);
  return root.dataset.time === "utc" ? window.uPlot.tzDate(date, "Etc/UTC") : date;
}

function clock(second, _at, seconds) {
  const date = zoned(second);
  const parts = [date.getHours(), date.getMinutes()];
  if (seconds.some((other) => other % 60)) parts.push(date.getSeconds()); // a young chart: minutes alone would repeat
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

function stroke({ line, unit, look, colour }) {
  return {
    label: line,
    scale: unit,
    stroke: colour,
    width: look === "main" ? 1.5 : 1.25,
    ...(look === "second" && { dash: [4, 3] }),
    ...(look === "main" && { fill: colour.replace("rgb(", "rgba(").replace(")", ", 0.08)") }),
    spanGaps: false,
    points: { show: true, filter: lone, size: 3, fill: colour, stroke: colour },
  };
}

// What has no neighbour would not be drawn as a line.
function lone(chart, number) {
  const values = chart.data[number];
  const isKnown = (at) => values[at] !== null && values[at] !== undefined;
  return values.flatMap((_, at) => (isKnown(at) && !isKnown(at - 1) && !isKnown(at + 1) ? [at] : []));
}

const LEAST = { count: 4, rate: 0.2, duration: 10 };

// From 0 up: a chart that begins elsewhere makes mountains of what is steady.
function fromZero(unit) {
  return (_chart, _low, high) => [0, Math.max((high ?? 0) * 1.1, LEAST[unit])];
}
