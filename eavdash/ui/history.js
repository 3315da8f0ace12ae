// A page that writes its choices into its address makes one step of the tab's history, and only where one has changed.

const MENDED = Symbol.for("eavdash-history");

function mended(push, replace) {
  return (state, title, url) => {
    const now = new URL(location.href);
    const next = new URL(url ?? "", now);
    if (next.pathname !== now.pathname) return push(state, title, url); // another page
    const names = [...now.searchParams.keys()];
    // A page never takes a choice out of its address: this is the next page's, which opens with the same address.
    if (names.some(name => !next.searchParams.has(name))) return undefined;
    const changed = names.some(name => now.searchParams.get(name) !== next.searchParams.get(name));
    return changed ? push(state, title, url) : replace(state, title, url);
  };
}

export default function ({ parentElement }) {
  const box = (parentElement.getRootNode().host ?? parentElement).closest("[data-testid=stElementContainer]");
  if (box) box.style.display = "none"; // it shows nothing, and takes no space
  if (history[MENDED]) return;
  history[MENDED] = true;
  history.pushState = mended(history.pushState.bind(history), history.replaceState.bind(history));
}
