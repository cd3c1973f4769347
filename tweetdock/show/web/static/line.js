// The line to TweetDock: readings as they come, and the truth about when they do not.

const SILENCE_MS = 5000; // a reading comes each second
const ASK_MS = 2500; // after so long it is asked for: a proxy may keep events back, or refuse them
const HOPELESS_MS = 15000; // a line that is silent for so long is dead, whatever the browser thinks
const RETRY_MS = 30000; // for those whom TweetDock has no room to watch, and who ask instead
const ANSWER_MS = 3000;

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
    this.saidAt = this.openedAt = performance.now();
    this.stream = new EventSource("api/events");
    this.stream.onmessage = (event) => {
      this.saidAt = performance.now();
      this.take(JSON.parse(event.data));
    };
    this.stream.onerror = () => this.fail();
  }

  rest() {
    this.turn++;
    this.isAsking = false;
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
    if (this.isAsking) return;
    this.isAsking = true;
    const { turn, at } = this;
    const reading = await read();
    if (turn !== this.turn) return;
    this.isAsking = false;
    if (at !== this.at) return; // meanwhile a later one has come by itself
    if (reading) this.take(reading);
    else this.miss();
  }

  check() {
    if (!this.stream) return;
    const now = performance.now();
    const isClosed = this.stream.readyState === EventSource.CLOSED;
    if (isClosed ? now - this.openedAt > RETRY_MS : now - this.saidAt > HOPELESS_MS) this.open();
    if (now - this.heardAt > ASK_MS) this.ask();
    if (now - this.heardAt > SILENCE_MS) this.miss();
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
    const answer = await fetch("api/reading", { signal: AbortSignal.timeout(ANSWER_MS) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
