// What the palette can do to the page that is open, by name (dashboard/views/finding.py lists them).
import { copy } from "./copy.js";
import { showTimesAs } from "./clock.js";
import { switchDensity } from "./density.js";
import { live } from "./live.js";
import { switchTheme } from "./theme.js";

export const commands = {
  theme: switchTheme,
  relative: () => showTimesAs("relative"),
  local: () => showTimesAs("local"),
  utc: () => showTimesAs("utc"),
  density: switchDensity,
  live: () => live.switch(),
  link: () => copy(location.href),
  help: () => document.getElementById("help").showModal(),
};
