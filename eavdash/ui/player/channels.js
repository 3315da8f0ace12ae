// One channel of the EEG lit in its lane and on the scalp, by pointing at either or with the arrow keys.

const REACH = 0.13; // head radii around an electrode

class Channels {
  constructor(player) {
    this.player = player;
    this.lit = -1;
    const { eeg } = player.header;
    const strip = player.find(".lane[data-lane='eeg'] .strip");
    this.row = player.find(".row-light");
    const rowAt = (event) => Math.floor((event.clientY - strip.getBoundingClientRect().top) / player.row);
    player.on(strip, "pointermove", (event) => !event.buttons && this.light(rowAt(event)));
    player.on(strip, "pointerleave", () => this.light(-1));
    const head = player.find(".map");
    player.on(head, "pointermove pointerdown", (event) => this.light(this.electrodeAt(event, head), true));
    player.on(head, "pointerleave", () => this.light(-1));
    this.count = eeg.channels.length;
    this.show(-1);
  }

  electrodeAt(event, head) {
    const { scalp } = this.player.header.eeg;
    if (!scalp) return -1;
    const box = head.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width - 0.5) * 2 * scalp.extent;
    const y = (0.5 - (event.clientY - box.top) / box.height) * 2 * scalp.extent;
    const away = scalp.positions.map(([left, up]) => Math.hypot(left - x, up - y));
    const nearest = away.indexOf(Math.min(...away));
    return away[nearest] < REACH ? scalp.electrodes[nearest] : -1;
  }

  // Lights a channel, by its number, in all players with this recording; -1: none. scroll: bring its trace into view.
  light(channel, scroll = false) {
    const first = this.player.leader || this.player;
    for (const each of [first, ...first.followers]) each.channels?.show(channel, scroll);
  }

  show(channel, scroll) {
    const { player } = this;
    this.lit = channel >= 0 && channel < this.count ? channel : -1;
    player.find(".names").querySelectorAll("span").forEach((name, n) => name.classList.toggle("lit", n === this.lit));
    const scalp = player.header.eeg.scalp;
    player.find(".map svg").querySelectorAll(".dot").forEach((dot, n) => dot.classList.toggle("lit", scalp?.electrodes[n] === this.lit));
    this.row.hidden = this.lit < 0;
    this.tell(player.clock.now());
    if (this.lit < 0) return;
    const top = this.lit * player.row;
    Object.assign(this.row.style, { top: `${top}px`, height: `${player.row}px` });
    if (!scroll) return;
    const scroller = player.find(".scroller");
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    if (top + player.row > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + player.row - scroller.clientHeight;
  }

  move(by) {
    const next = this.lit < 0 ? (by > 0 ? 0 : this.count - 1) : this.lit + by;
    this.light(Math.min(Math.max(next, 0), this.count - 1), true);
  }

  // Says the lit channel's name and its value in the map at this time.
  tell(time) {
    const { player } = this;
    const overlay = player.maps.active("eeg");
    const step = overlay && this.lit >= 0 ? stepAt(overlay.spans, time) : -1;
    const value = step >= 0 ? `: ${rounded((overlay.values[step * this.count + this.lit] * overlay.limit) / 127)} ${overlay.unit}` : "";
    const words = this.lit < 0 ? "" : `${player.header.eeg.channels[this.lit]}${value}`;
    if (words !== this.words) player.find(".lit-note").textContent = this.words = words;
  }
}
