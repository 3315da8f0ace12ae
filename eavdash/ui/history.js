// A page that writes its choices into its address makes one step of the tab's history, and only where one has changed.

const MENDED = Symbol.for("eavdash-history");
const SOON = 3000; // ms

function mended(push, replace) {
  let early = 0; // when the address has lost a choice
  return (state, title, url) => {
    const now = new URL(location.href);
    const next = new URL(url ?? "", now);
    const soon = Date.now() - early < SOON;
    if (next.pathname !== now.pathname) { // another page; what was lost just before was its address already
      early = 0;
      return (soon ? replace : push)(state, title, url);
    }
    const names = [...now.searchParams.keys()];
    const lost = names.some(name => !next.searchParams.has(name));
    if (lost) early = Date.now();
    const changed = names.some(name => now.searchParams.get(name) !== next.searchParams.get(name));
    return (changed && !(lost && soon) ? push : replace)(state, title, url);
  };
}

export default function ({ parentElement }) {
  const box = (parentElement.getRootNode().host ?? parentElement).closest("[data-testid=stElementContainer]");
  if (box) box.style.display = "none"; // it shows nothing, and takes no space
  if (history[MENDED]) return;
  history[MENDED] = true;
  history.pushState = mended(history.pushState.bind(history), history.replaceState.bind(history));
}
