// The line to TweetDock: readings as they come, and the truth about when they do not.

const SILENCE_MS = 5000; // a reading comes each second
const HOPELESS_MS = 15000; // a line that is silent for so long is dead, whatever the browser thinks
const POLL_MS = 3000;
const RETRY_MS = 30000; // for those whom TweetDock has no room to watch, and who ask instead

export class Line {
  /** hear(reading) for each reading; lose() and find() as the line goes and comes. */
  constructor({ hear, lose, find }) {
    Object.assign(this, { hear, lose, find });
    this.heardAt = this.openedAt = performance.now();
    this.isLost = false;
    this.open();
    setInterval(() => this.check(), 1000);
    document.addEventListener("visibilitychange", () => document.hidden || this.wake());
    addEventListener("pageshow", (event) => event.persisted && this.wake());
    addEventListener("online", () => this.wake());
    addEventListener("pagehide", () => this.stream.close());
  }

  open() {
    this.stream?.close();
    this.openedAt = performance.now();
    this.stream = new EventSource("/api/events");
    this.stream.onmessage = (event) => this.take(JSON.parse(event.data));
    this.stream.onerror = () => this.fail();
  }

  take(reading) {
    this.heardAt = performance.now();
    this.hear(reading);
    if (!this.isLost) return;
    this.isLost = false;
    this.find();
  }

  fail() {
    this.miss();
    // The browser itself opens a line anew that broke, but not one that was refused.
    if (this.stream.readyState === EventSource.CLOSED) this.ask();
  }

  miss() {
    if (this.isLost) return;
    this.isLost = true;
    this.lose();
  }

  async ask() {
    clearTimeout(this.asking);
    let isRefused = false;
    try {
      const answer = await fetch("/api/reading", { signal: AbortSignal.timeout(POLL_MS) });
      if (answer.ok) {
        isRefused = true;
        this.take(await answer.json());
      }
    } catch {
      this.miss();
    }
    const isDue = performance.now() - this.openedAt > RETRY_MS;
    this.asking = setTimeout(() => (isRefused && !isDue ? this.ask() : this.open()), POLL_MS);
  }

  check() {
    const now = performance.now();
    if (now - this.heardAt > SILENCE_MS) this.miss();
    const isDead = now - Math.max(this.heardAt, this.openedAt) > HOPELESS_MS;
    if (isDead && this.stream.readyState !== EventSource.CLOSED) this.open();
  }

  /** After a sleep a line may be dead though nobody was told. */
  wake() {
    this.check();
    if (this.isLost || this.stream.readyState === EventSource.CLOSED) this.open();
  }
}
