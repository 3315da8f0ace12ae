// The player's clock. It is the time of the media element; the clock counts by itself only without media, after the
// media has ended before the trial, or when it cannot be played.

const NEAR = 0.1; // seconds: media that ends this close to the trial's end counts as complete

class Clock {
  // media: an element or null; offset: its time at the trial's start; changed: called when playing begins or ends.
  constructor(media, offset, duration, changed) {
    Object.assign(this, { media, offset, duration, changed, rate: 1, playing: false, onMedia: media !== null });
    this.at = 0;
    this.since = 0;
    this.listeners = new AbortController();
    if (!media) return;
    const on = (name, react) => media.addEventListener(name, react, { signal: this.listeners.signal });
    on("ended", () => this.handOver());
    on("timeupdate", () => this.tick()); // also in a hidden tab, where nothing is painted
    on("pause", () => !media.ended && this.onMedia && this.playing && this.stopped());
    media.currentTime = offset;
  }

  now() {
    const counted = this.playing ? ((performance.now() - this.since) / 1000) * this.rate : 0;
    const time = this.onMedia ? this.media.currentTime - this.offset : this.at + counted;
    return Math.min(Math.max(time, 0), this.duration);
  }

  mediaEnd() {
    const end = this.media.duration - this.offset;
    return Number.isFinite(end) && end < this.duration - NEAR ? end : Infinity;
  }

  seek(time) {
    time = Math.min(Math.max(time, 0), this.duration);
    if (this.media && !this.broken) {
      const within = time < this.mediaEnd();
      this.onMedia = within;
      this.media.currentTime = (within ? time : this.mediaEnd()) + this.offset;
      if (within && this.playing) this.start();
      if (!within) this.media.pause();
    }
    this.at = time;
    this.since = performance.now();
  }

  play() {
    if (this.now() >= this.duration - 0.02) this.seek(0);
    this.at = this.now();
    this.since = performance.now();
    this.playing = true;
    if (this.onMedia) this.start();
    this.changed();
  }

  start() {
    this.media.playbackRate = this.rate;
    if (this.media.paused) this.media.play().catch((error) => error.name !== "AbortError" && this.stopped());
  }

  pause() {
    this.at = this.now();
    this.playing = false;
    if (this.media) this.media.pause();
    this.changed();
  }

  stopped() {
    this.at = this.now();
    this.playing = false;
    this.changed();
  }

  setRate(rate) {
    this.at = this.now();
    this.since = performance.now();
    this.rate = rate;
    if (this.media) this.media.playbackRate = rate;
  }

  // Called as time passes: playing ends where the trial does.
  tick() {
    if (!this.playing || this.now() < this.duration) return;
    this.pause();
    this.seek(this.duration);
  }

  handOver() {
    if (!this.onMedia || !this.playing) return;
    this.at = this.now();
    this.since = performance.now();
    if (this.duration - this.at > NEAR) this.onMedia = false;
    else this.stopped();
  }

  // The recording cannot be played: continue without it.
  breakOff() {
    this.at = this.now();
    this.since = performance.now();
    this.broken = true;
    this.onMedia = false;
  }

  close() {
    this.listeners.abort();
    if (!this.media) return;
    this.media.pause();
    this.media.removeAttribute("src"); // closes the connection
    this.media.load();
  }
}
