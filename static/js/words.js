// Numbers and states as words, the same as the server's (dashboard/templatetags/screen.py).
const counts = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export function count(value) {
  return value === null || value === undefined ? "unknown" : counts.format(value);
}

export function rate(value) {
  if (!value || value < 0.05) return "idle";
  return value >= 10 ? `${counts.format(value)}/s` : `${value.toFixed(1)}/s`;
}

// Failed attempts a second, as `failing` in dashboard/templatetags/screen.py.
export function failing(value) {
  if (value === null || value === undefined) return "unknown";
  return value >= 0.05 ? rate(value) : "0";
}

// A value of a chart, as `measured` in dashboard/templatetags/screen.py.
export function measured(value, unit) {
  if (unit === "duration") return duration(value);
  if (value === null || value === undefined) return "unknown";
  if (unit === "count") return count(value);
  return value >= 10 || !value ? `${counts.format(value)}/s` : `${Number(value.toPrecision(2))}/s`;
}

export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1 && ms > 0) return `${(ms * 1000).toFixed(0)} µs`;
  if (ms < 1000) return ms >= 10 || !ms ? `${ms.toFixed(0)} ms` : `${ms.toFixed(1)} ms`;
  if (ms < 60_000) return ms < 10_000 ? `${(ms / 1000).toFixed(2)} s` : `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.floor(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function countdown(ms) {
  if (ms <= 0) return "due now";
  const seconds = Math.ceil(ms / 1000);
  const pair = [Math.floor(seconds / 60) % 60, seconds % 60].map((part) => String(part).padStart(2, "0")).join(":");
  return seconds < 3600 ? `in ${pair}` : `in ${Math.floor(seconds / 3600)}:${pair}`;
}

const AGES = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1000, "s"],
];

export function age(ms) {
  for (const [unit, name] of AGES) if (ms >= unit) return `${Math.floor(ms / unit)} ${name}`;
  return "0 s";
}

export function look(lane) {
  return lane.state === "succeeded" && lane.label.startsWith("Succeeded after") ? "succeeded-later" : lane.state;
}

export const TROUBLE = ["dead", "lost", "retrying"];

export function isTrouble(lane) {
  return TROUBLE.includes(lane.state);
}

export function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}
