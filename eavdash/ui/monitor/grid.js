// The grid subject x stage: a table of buttons, changed in place so that focus and scrolling survive a refresh.

class Grid {
  constructor(root) {
    Object.assign(this, { root, shape: "", last: null, turn: null, selected: new Set() });
  }

  draw(data, send) {
    Object.assign(this, { data, send });
    // Data from before the last click is outdated: keep the user's selection.
    this.turn ??= data.turn;
    if (data.turn >= this.turn) this.selected = new Set(data.selected);
    const names = data.rows.map((row) => [row.name, row.cells.map((cell) => cell && cell.run)]);
    const shape = JSON.stringify([data.columns.map((column) => column.stage), names]);
    if (shape !== this.shape) this.build();
    this.shape = shape;
    this.update();
  }

  build() {
    const { columns, rows } = this.data;
    const table = element("table");
    const head = table.createTHead().insertRow();
    head.append(element("th", { scope: "col", textContent: "Subject" }));
    this.heads = columns.map((column, number) => {
      const th = element("th", { scope: "col" });
      const button = element("button", { type: "button", className: "stage", textContent: column.label });
      button.style.borderColor = column.colour;
      button.onclick = () => this.whole(rows.map((row) => row.cells[number]));
      const bar = element("span", { className: "states" });
      th.append(button, bar);
      head.append(th);
      return { button, bar };
    });
    const body = table.createTBody();
    this.buttons = rows.map((row, y) => {
      const tr = body.insertRow();
      const th = element("th", { scope: "row" });
      const name = element("button", { type: "button", className: "who", textContent: row.name });
      name.onclick = () => this.whole(this.data.rows[y].cells);
      th.append(name);
      tr.append(th);
      return row.cells.map((cell, x) => {
        const td = tr.insertCell();
        if (!cell) {
          td.append(element("span", { className: "none", textContent: "–" }));
          return null;
        }
        const button = element("button", { type: "button", className: "cell" });
        button.append(element("b"), element("small"), element("i"));
        button.onclick = (event) => this.click(event, x, y);
        button.onkeydown = (event) => this.walk(event, x, y);
        td.append(button);
        return button;
      });
    });
    this.root.replaceChildren(table);
    this.last = null;
  }

  update() {
    const { columns, rows, colours } = this.data;
    columns.forEach((column, number) => {
      const { button, bar } = this.heads[number];
      const states = Object.entries(column.states);
      const words = states.map(([state, count]) => `${count} ${state}`).join(", ");
      if (bar.title === words) return;
      bar.title = words;
      button.setAttribute("aria-label", `${column.label}: ${words}. Select all shown.`);
      const parts = states.map(([state, count]) => {
        const part = element("i");
        Object.assign(part.style, { flexGrow: count, background: colours[state] });
        part.style.opacity = ["queued", "waiting", "blocked"].includes(state) ? 0.35 : 1;
        return part;
      });
      bar.replaceChildren(...parts);
    });
    rows.forEach((row, y) =>
      row.cells.forEach((cell, x) => {
        const button = this.buttons[y][x];
        if (!button) return;
        const [words, more, bar] = button.children;
        set(words, "textContent", cell.words);
        set(more, "textContent", cell.more);
        set(button, "title", cell.reason);
        set(button.dataset, "state", cell.state);
        bar.style.width = `${100 * cell.share}%`;
        const label = [`${row.name}, ${columns[x].label}`, cell.words, cell.more].filter(Boolean).join(", ");
        button.setAttribute("aria-label", label);
        button.setAttribute("aria-pressed", this.selected.has(cell.run));
        button.style.setProperty("--state", colours[cell.state] || "gray");
      }),
    );
  }

  // A click selects one run; with Ctrl, ⌘ or by touch it toggles a run; with Shift it adds a rectangle.
  click(event, x, y) {
    const { run } = this.data.rows[y].cells[x];
    const adds = event.ctrlKey || event.metaKey || event.pointerType === "touch";
    if (event.shiftKey && this.last) {
      const [xs, ys] = [[x, this.last.x].sort((a, b) => a - b), [y, this.last.y].sort((a, b) => a - b)];
      const block = this.data.rows.slice(ys[0], ys[1] + 1).flatMap((row) => row.cells.slice(xs[0], xs[1] + 1));
      block.forEach((cell) => cell && this.selected.add(cell.run));
    } else if (adds) {
      if (!this.selected.delete(run)) this.selected.add(run);
    } else {
      const alone = this.selected.size === 1 && this.selected.has(run);
      this.selected = new Set(alone ? [] : [run]);
    }
    this.last = { x, y };
    this.report();
  }

  // Adds a whole subject or stage; removes it if all of it is selected.
  whole(cells) {
    const names = cells.filter(Boolean).map((cell) => cell.run);
    const all = names.every((name) => this.selected.has(name));
    names.forEach((name) => (all ? this.selected.delete(name) : this.selected.add(name)));
    this.report();
  }

  walk(event, x, y) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const next = step && this.buttons[y + step[1]]?.[x + step[0]];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  report() {
    this.turn += 1;
    this.update();
    this.send("choice", { turn: this.turn, runs: [...this.selected] });
  }
}

function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

function set(target, name, value) {
  if (target[name] !== value) target[name] = value;
}

const grids = new WeakMap(); // by the parent element; Streamlit calls the component on every rerun

export default function ({ data, parentElement, setStateValue }) {
  if (!grids.has(parentElement)) grids.set(parentElement, new Grid(parentElement.querySelector(".runs")));
  grids.get(parentElement).draw(data, setStateValue);
}
