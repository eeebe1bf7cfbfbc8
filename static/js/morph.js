// What a morph of server-rendered parts must leave alone: what the reader opened, and trees built from unchanged payloads.
const { callbacks } = window.Idiomorph.defaults;

callbacks.beforeAttributeUpdated = (name, node) => !(name === "open" && node.localName === "details");

callbacks.beforeNodeMorphed = (old, fresh) => {
  if (old.localName === "lag-chart") return false; // refreshes itself
  if (old.dataset?.kept !== undefined && fresh.dataset?.kept !== undefined) return false; // a form that somebody fills in
  if (old.localName !== "payload-tree" || fresh.localName !== "payload-tree") return true;
  return old.querySelector("pre")?.textContent !== fresh.querySelector("pre")?.textContent;
};

document.addEventListener("htmx:afterSettle", () => {
  for (const tree of document.querySelectorAll("payload-tree")) tree.build();
});
