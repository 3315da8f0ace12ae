// A desktop notification when the study ends, if the user has asked for it in this browser.

const WANTED = "eavdash-notify";
const states = new WeakMap(); // by the place on the page: what was seen last

function wanted() {
  try {
    return localStorage.getItem(WANTED) === "yes";
  } catch {
    return false; // storage may be forbidden; then nothing is remembered
  }
}

function want(yes) {
  try {
    localStorage.setItem(WANTED, yes ? "yes" : "no");
  } catch {
    // as above
  }
}

function show(root, over) {
  const [button, note] = root.children;
  root.hidden = over; // nothing is left to wait for
  const possible = "Notification" in window;
  const permission = possible ? Notification.permission : "denied";
  const on = permission === "granted" && wanted();
  button.textContent = on ? "Do not notify me" : "Notify me when it ends";
  button.setAttribute("aria-pressed", on);
  button.disabled = permission === "denied";
  note.textContent = "";
  if (!possible) note.textContent = "This browser shows no notifications here; the tab's title tells.";
  else if (permission === "denied") note.textContent = "Notifications are blocked in this browser; the tab's title tells.";
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
