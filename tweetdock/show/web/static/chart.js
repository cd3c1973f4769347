// The chart: how tweets and tweeters came to where they are, with its holes left open.

import { number, time } from "./words.js";

const HOUR = 3600; // all times here are Unix seconds of TweetDock's clock
const LEAST_SPAN = 600;
const READ_MS = 60000;
const DRAW_MS = 5000;
const MOST = 5000; // moments, should the past not be readable for days
const NEARLY = 0.95; // of the range that was chosen is all of it
const FINEST = 1000; // moments across the chart; more than these are a blur
// By age: three steps of what is kept.
const LONGEST_HOLE = [
  [24 * HOUR, 180],
  [Infinity, 3 * HOUR],
];

const STEPS_TO_A_HOLE = 3; // of a replay, whose time may go by hours
// Round tops of the scale, and into how many parts each is divided.
const TOPS = [
  [1, 2],
  [1.5, 3],
  [2, 2],
  [3, 3],
  [4, 2],
  [5, 2],
  [6, 3],
  [8, 2],
  [10, 2],
];

// The viewer's own language and time zone.
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric" });
const dark = matchMedia("(prefers-color-scheme: dark)");

export class Chart {
  constructor(section) {
    this.plot = section.querySelector(".plot");
    this.output = section.querySelector("output");
    this.choice = section.querySelector("fieldset");
    this.since = section.querySelector("h2 span");
    this.isReplay = Boolean(JSON.parse(document.body.dataset.reading).replay);
    this.kept = [];
    this.newest = null;
    this.drawnAt = -DRAW_MS;
    this.choice.addEventListener("change", () => this.read());
    new ResizeObserver(() => this.fit()).observe(this.plot);
    dark.addEventListener("change", () => this.draw());
    document.addEventListener("visibilitychange", () => document.hidden || this.read());
    setInterval(() => document.hidden || this.read(), READ_MS);
    this.read();
  }

  get hours() {
    return Number(this.choice.querySelector(":checked").value);
  }

  /** Read the past anew; what was put together here meanwhile is thrown away. */
  async read() {
    const hours = this.hours;
    try {
      const answer = await fetch(`api/history?hours=${hours}`);
      if (!answer.ok) return;
      const { at, posts, authors, grade } = await answer.json();
      if (hours !== this.hours) return;
      this.kept = at.map((moment, i) => ({
        at: moment,
        posts: posts[i],
        authors: authors[i],
        grade: grade[i],
      }));
      this.draw();
    } catch {
      // It stays as it was; the next minute asks again.
    }
  }

  /** One more reading; the last one stands at the end of the lines. */
  add({ at, posts, authors, grade }) {
    const newest = { at: Date.parse(at) / 1000, posts, authors, grade };
    // The clock was set back: what it had called later never was.
    while (this.kept.at(-1)?.at > newest.at) this.kept.pop();
    if (this.newest?.at > newest.at) this.newest = null;
    const last = this.kept.at(-1);
    if (this.newest && (!last || Math.floor(this.newest.at / 10) > Math.floor(last.at / 10))) {
      this.kept.push(this.newest);
      if (this.kept.length > MOST) this.kept.shift();
    }
    this.newest = newest;
    if (!document.hidden && performance.now() - this.drawnAt > DRAW_MS) this.draw();
  }

  /** The moments of the range, oldest first; a hole has a moment without counts in it. */
  moments() {
    const all = [...this.kept];
    if (this.newest && this.newest.at > (all.at(-1)?.at ?? 0)) all.push(this.newest);
    const now = all.at(-1)?.at ?? 0;
    const least = (this.hours * HOUR) / FINEST;
    const step = this.isReplay ? usualStep(all) : 0;
    const found = [];
    let before = null;
    for (const moment of all) {
      if (moment.at < now - this.hours * HOUR) continue;
      const last = found.at(-1);
      if (before && moment.at - before.at > longestHole(now - before.at, step)) {
        if (last !== before) found.push(before);
        found.push({ at: before.at + 1, posts: null, authors: null, grade: "hole" }, moment);
      } else if (
        !last ||
        moment.at - last.at >= least ||
        moment.at === now ||
        moment.grade !== last.grade
      ) {
        found.push(moment);
      }
      before = moment;
    }
    return found;
  }

  draw() {
    const moments = this.moments();
    this.drawn = moments;
    if (!moments.length || !self.uPlot) return; // all else goes on where that was kept away
    this.drawnAt = performance.now();
    const now = moments.at(-1).at;
    const first = Math.min(moments[0].at, now - LEAST_SPAN);
    this.span = [Math.max(first, now - Math.max(this.hours * HOUR, LEAST_SPAN)), now];
    const known = (name) => moments.map((m) => (m.grade === "stale" ? null : m[name]));
    const data = [moments.map(({ at }) => at), known("posts"), known("authors")];
    this.plot.setAttribute("aria-label", this.words(moments));
    this.tellSince(moments[0].at, now);
    const colours = getComputedStyle(this.plot);
    const key = ["--ink", "--soft", "--rule"].map((name) => colours.getPropertyValue(name)).join();
    if (this.uplot && key === this.key) return this.uplot.setData(data);
    this.key = key;
    this.uplot?.destroy();
    this.uplot = new uPlot(this.options(colours), data, this.plot);
  }

  options(colours) {
    const [ink, soft, rule, shade] = ["--ink", "--soft", "--rule", "--shade"].map((name) =>
      colours.getPropertyValue(name).trim(),
    );
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const axis = {
      stroke: soft,
      font: `${Math.round(0.85 * rem)}px ${colours.fontFamily}`, // uPlot scales whole numbers only
      grid: { stroke: rule, width: 1 },
      ticks: { show: false },
      gap: 0.4 * rem,
    };
    const line = { points: { show: () => this.drawn.length < 3 }, spanGaps: false };
    return {
      width: this.plot.clientWidth,
      height: this.plot.clientHeight,
      padding: [0.6 * rem, 0.6 * rem, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      scales: { x: { range: () => this.span }, y: { range: (_, __, most) => [0, heights(most).at(-1)] } },
      axes: [
        { ...axis, size: 1.7 * rem, space: 5 * rem, grid: { show: false }, values: times },
        {
          ...axis,
          size: 3.1 * rem, // always: the chart must not move when counts grow
          splits: (_, __, ___, top) => heights(top),
          values: (_, counts) => counts.map(short),
        },
      ],
      series: [
        {},
        { ...line, stroke: ink, width: 0.14 * rem },
        { ...line, stroke: soft, width: 0.11 * rem, dash: [0.35 * rem, 0.25 * rem] },
      ],
      hooks: {
        drawClear: [(plot) => this.shade(plot, shade)],
        setCursor: [(plot) => this.tell(plot.cursor.idx)],
      },
    };
  }

  /** A ground behind lower bounds. */
  shade(plot, colour) {
    const { ctx, bbox } = plot;
    const place = (at) =>
      Math.min(bbox.left + bbox.width, Math.max(bbox.left, plot.valToPos(at, "x", true)));
    ctx.fillStyle = colour;
    for (const [since, until] of bounds(this.drawn)) {
      ctx.fillRect(place(since), bbox.top, place(until) - place(since), bbox.height);
    }
  }

  /** Whoever chose a longer range than there is learns where it begins. */
  tellSince(first, now) {
    const isShort = now - first < this.hours * HOUR * NEARLY;
    const text = isShort ? `since ${time(new Date(first * 1000), new Date(now * 1000))}` : "";
    if (this.since.textContent !== text) this.since.textContent = text;
  }

  tell(index) {
    const moment = index == null ? null : this.drawn[index];
    if (!moment || moment.posts == null) return void (this.output.textContent = "");
    const least = moment.grade === "exact" ? "" : "at least ";
    const counts = `${number(moment.posts)} tweets, ${number(moment.authors)} tweeters`;
    const at = new Date(moment.at * 1000);
    this.output.textContent = `${time(at, new Date(this.span[1] * 1000))}: ${least}${counts}`;
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.plot;
    if (!this.uplot || !width) return;
    if (this.uplot.width === width && this.uplot.height === height) return;
    this.key = ""; // letters are as large as the page's
    this.draw();
  }

  words(moments) {
    const counts = moments.filter(({ posts, grade }) => posts != null && grade !== "stale");
    if (!counts.length) return "No counts in this time.";
    const range = (name) => {
      const found = counts.map((moment) => moment[name]);
      return `between ${Math.min(...found)} and ${Math.max(...found)}, ${found.at(-1)} at the end`;
    };
    const [from, until] = [counts[0], counts.at(-1)].map(({ at }) => whole.format(at * 1000));
    const isExact = counts.every(({ grade }) => grade === "exact");
    const doubt = isExact ? "" : " Some of these counts are lower bounds.";
    const said = `tweets ${range("posts")}; tweeters ${range("authors")}`;
    return `From ${from} to ${until}: ${said}.${doubt}`;
  }
}

const UNITS = [
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
];

/** A count as the dials write it: `500`, `2000`, `10k`, `1.5M`. */
function short(count) {
  const [unit, sign] = UNITS.find(([least]) => count >= Math.max(least, 10000)) ?? [1, ""];
  return `${Number((count / unit).toPrecision(4))}${sign}`;
}

const longestHole = (age, step) =>
  Math.max(STEPS_TO_A_HOLE * step, LONGEST_HOLE.find(([oldest]) => age <= oldest)[1]);

/** How far apart moments mostly are. */
function usualStep(moments) {
  const steps = moments.slice(1).map(({ at }, i) => at - moments[i].at);
  return steps.sort((one, other) => one - other)[Math.floor(steps.length / 2)] ?? 0;
}

/** The stretches whose counts are lower bounds: where each begins and ends. */
export function bounds(moments) {
  const found = [];
  let since = null;
  moments.forEach(({ at, grade }, i) => {
    const isBound = grade === "filling" || grade === "partial";
    if (isBound && i < moments.length - 1) since ??= at;
    else if (since !== null) {
      found.push([since, at]);
      since = null;
    }
  });
  return found;
}

/** The numbers beside the chart: from 0 to a round one that is no less than the highest count. */
export function heights(most) {
  const least = Math.max(10, most ?? 0);
  const decade = 10 ** Math.floor(Math.log10(least));
  const [top, parts] = TOPS.find(([n]) => n * decade >= least);
  return [...Array(parts + 1).keys()].map((part) => (top * decade * part) / parts);
}

function times(_, moments, __, ___, step) {
  const isByDay = step >= 24 * HOUR;
  return moments.map((moment) => {
    const date = new Date(moment * 1000);
    return isByDay ? day.format(date) : time(date, date);
  });
}
