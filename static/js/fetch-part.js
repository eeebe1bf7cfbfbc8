// Swaps a server-rendered part in, morphing: focus, scroll and what the reader opened stay.
export async function fetchPart(url, target) {
  try {
    await window.htmx.ajax("GET", url, { target, source: target, swap: "morph:innerHTML" });
  } catch {
    // The part keeps what it showed; that the server is away, the footer says.
  }
}
