// The line to TweetDock: readings as they come, and the truth about when they do not.

const SILENCE_MS = 5000; // a reading comes each second
const HOPELESS_MS = 15000; // a line that is silent for so long is dead, whatever the browser thinks
const POLL_MS = 3000;
const RETRY_MS = 30000; // for those whom TweetDock has no room to watch, and who ask instead

export class Line {
  /**
   * hear(reading) for each new reading, and whether it was of use; lose() and find() as the line
   * goes and comes. A page that nobody sees rests: a browser has few lines for all its tabs.
   */
  constructor({ hear, lose, find }) {
    Object.assign(this, { hear, lose, find });
    this.heardAt = performance.now();
    this.isLost = false;
    this.turn = 0; // of opening and resting; what was asked in an earlier one is void
    if (!document.hidden) this.open();
    setInterval(() => this.check(), 1000);
    document.addEventListener("visibilitychange", () =>
      document.hidden ? this.rest() : this.wake(),
    );
    addEventListener("pageshow", (event) => event.persisted && this.wake());
    addEventListener("online", () => this.wake());
    addEventListener("pagehide", () => this.rest());
  }

  open() {
    this.rest();
    this.openedAt = performance.now();
    this.stream = new EventSource("/api/events");
    this.stream.onmessage = (event) => this.take(JSON.parse(event.data));
    this.stream.onerror = () => this.fail();
  }

  rest() {
    this.turn++;
    clearTimeout(this.asking);
    this.stream?.close();
    this.stream = null;
  }

  /** A new line begins with the newest reading there is: an old one sent again is no news. */
  take(reading) {
    if (reading.at === this.at || !this.hear(reading)) return;
    this.at = reading.at;
    this.heardAt = performance.now();
    if (!this.isLost) return;
    this.isLost = false;
    this.find();
  }

  fail() {
    // The browser itself opens a line anew that broke, but not one that was refused.
    if (this.stream.readyState === EventSource.CLOSED) this.ask();
    else this.miss();
  }

  miss() {
    if (this.isLost) return;
    this.isLost = true;
    this.lose();
  }

  async ask() {
    const { turn } = this;
    const reading = await read();
    if (turn !== this.turn) return;
    if (reading) this.take(reading);
    else this.miss();
    const isDue = performance.now() - this.openedAt > RETRY_MS;
    this.asking = setTimeout(() => (reading && !isDue ? this.ask() : this.open()), POLL_MS);
  }

  check() {
    if (!this.stream) return;
    const now = performance.now();
    if (now - this.heardAt > SILENCE_MS) this.miss();
    const isDead = now - Math.max(this.heardAt, this.openedAt) > HOPELESS_MS;
    if (isDead && this.stream.readyState !== EventSource.CLOSED) this.open();
  }

  /** After a rest what is shown is old; after a sleep a line may be dead though nobody was told. */
  wake() {
    if (document.hidden) return;
    if (performance.now() - this.heardAt > SILENCE_MS) this.miss();
    const isOver = !this.stream || this.stream.readyState === EventSource.CLOSED;
    if (isOver || this.isLost) this.open();
  }
}

/** The newest reading, asked for by hand; null if there is none to be had. */
async function read() {
  try {
    const answer = await fetch("/api/reading", { signal: AbortSignal.timeout(POLL_MS) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
