// A desktop notification when the study ends, if the user has enabled it in this browser.

const WANTED = "eavdash-notify";
const states = new WeakMap(); // the last data, by the parent element

function wanted() {
  try {
    return localStorage.getItem(WANTED) === "yes";
  } catch {
    return false; // storage may be blocked
  }
}

function want(yes) {
  try {
    localStorage.setItem(WANTED, yes ? "yes" : "no");
  } catch {
    // storage may be blocked
  }
}

function show(root, over) {
  const [button, note] = root.children;
  root.hidden = over;
  const possible = "Notification" in window;
  const permission = possible ? Notification.permission : "denied";
  const on = permission === "granted" && wanted();
  button.textContent = on ? "Do not notify me" : "Notify me when it ends";
  button.setAttribute("aria-pressed", on);
  button.disabled = permission === "denied";
  note.textContent = "";
  if (!possible) note.textContent = "This browser cannot show notifications here; see the tab's title.";
  else if (permission === "denied") note.textContent = "Notifications are blocked in this browser; see the tab's title.";
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".notice");
  const before = states.get(parentElement);
  states.set(parentElement, data);
  root.querySelector("button").onclick = async () => {
    if (Notification.permission === "default") await Notification.requestPermission();
    want(!(wanted() && root.querySelector("button").getAttribute("aria-pressed") === "true"));
    show(root, data.over);
  };
  show(root, data.over);
  const ended = before && before.study === data.study && !before.over && data.over;
  if (ended && wanted() && "Notification" in window && Notification.permission === "granted") {
    new Notification(`${data.study} has ended`, { body: data.words, tag: `eavdash-${data.study}` });
  }
}
