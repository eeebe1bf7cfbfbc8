// Everything that pages use; each import is one concern or one custom element.
import "./act-dialog.js";
import "./choose-rows.js";
import "./clock.js";
import "./copy.js";
import "./keys.js";
import "./live-status.js";
import "./morph.js";
import "./payload-tree.js";
import "./overview-page.js";
import "./flow-map.js";
import "./live-tail.js";
import "./refreshed-page.js";
import "./search-box.js";
import "./trace-page.js";
import "./trace-panel.js";
import "./flow-graph.js";
import "./time-line.js";
