// The dials: their needles move as the servos do, their marks are drawn by the server.

import { dialWords, notes, number } from "./words.js";

const { speed, acceleration, arrived } = Object.fromEntries(
  Object.entries(document.body.dataset).map(([name, value]) => [name, Number(value)]),
);
const STEP_SECONDS = 0.02;
const LONGEST_SECONDS = 0.5; // a screen that stood still for longer shows where the needle is
const LONGEST_WAIT_MS = 5000;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Motion.step of tweetdock/core/motion.py. */
export function step({ angle, velocity }, target, seconds) {
  const way = target - angle;
  const gain = acceleration * seconds;
  const braking = Math.sqrt(gain * gain + 2 * acceleration * Math.abs(way)) - gain;
  const wanted = Math.sign(way) * Math.min(speed, braking);
  const now = Math.min(Math.max(wanted, velocity - gain), velocity + gain);
  const next = angle + now * seconds;
  if (Math.abs(target - next) <= arrived && Math.abs(now) <= gain) {
    return { angle: target, velocity: 0 };
  }
  return { angle: next, velocity: now };
}

export class Dial {
  constructor(svg) {
    this.name = svg.dataset.dial;
    this.target = Number(svg.dataset.angle);
    this.motion = { angle: this.target, velocity: 0 };
    this.isDrawing = false;
    this.adopt(svg);
  }

  adopt(svg) {
    this.svg = svg;
    this.title = svg.querySelector(".title").textContent;
    this.needle = svg.querySelector(".needle");
    this.room = svg.querySelector(".count").textContent.length;
    this.turn();
  }

  /** Show a dial's reading; on a face of another scale the needle is hidden until it is drawn. */
  show(reading, grade) {
    this.shown = [reading, grade];
    this.put();
    if (!this.hasFace(reading) || number(reading.count).length !== this.room) this.draw();
  }

  put() {
    const [reading, grade] = this.shown;
    this.write(".count", number(reading.count));
    this.write(".note", notes(reading, grade));
    this.svg.setAttribute("aria-label", dialWords(this.title, reading, grade));
    const isPegged = reading.pegged && reading.known && grade !== "stale";
    this.svg.querySelector(".peg").setAttribute("opacity", isPegged ? 1 : 0);
    const hasFace = this.hasFace(reading);
    this.svg.toggleAttribute("data-outdated", !hasFace);
    if (hasFace) this.aim(reading.angle);
  }

  /** Whether the marks are those of a reading's scale. */
  hasFace({ scale, full_scale, min_angle, max_angle }, { dataset } = this.svg) {
    const numbers = [dataset.fullScale, dataset.minAngle, dataset.maxAngle].map(Number);
    return (
      scale === dataset.scale &&
      [full_scale, min_angle, max_angle].every((wanted, i) => wanted === numbers[i])
    );
  }

  write(place, text) {
    const element = this.svg.querySelector(place);
    if (element.textContent !== text) element.textContent = text;
  }

  async draw() {
    if (this.isDrawing) return;
    this.isDrawing = true;
    const [asked] = this.shown;
    let isDrawn = false;
    try {
      const answer = await fetch(`dial/${this.name}.svg`, {
        signal: AbortSignal.timeout(LONGEST_WAIT_MS),
      });
      if (!answer.ok) return;
      const picture = new DOMParser().parseFromString(await answer.text(), "image/svg+xml");
      const svg = document.importNode(picture.documentElement, true);
      // It may be of a later reading, which will ask again.
      isDrawn = this.hasFace(this.shown[0], svg);
      if (isDrawn) this.replace(svg);
    } catch {
      // The next reading asks again.
    } finally {
      this.isDrawing = false;
    }
    // Once for each reading: the server may be ahead of it for long.
    if (this.shown[0] !== asked) this.show(...this.shown);
    else if (isDrawn) this.put();
  }

  replace(svg) {
    const { straight } = this.svg.dataset;
    this.svg.replaceWith(svg);
    this.adopt(svg);
    // Another servo's angles are no way to come from.
    if (straight !== svg.dataset.straight) {
      this.target = this.shown[0].angle;
      this.jump();
    }
  }

  aim(angle) {
    this.target = angle;
    this.svg.dataset.angle = angle;
    if (calm.matches || document.hidden) return this.jump();
    if (this.motion.angle !== angle && !this.frame) {
      this.last = performance.now();
      this.frame = requestAnimationFrame((now) => this.move(now));
    }
  }

  /** Be there at once. */
  jump() {
    this.motion = { angle: this.target, velocity: 0 };
    this.turn();
  }

  move(now) {
    let seconds = Math.max(0, (now - this.last) / 1000);
    this.last = now;
    if (seconds > LONGEST_SECONDS) this.jump();
    for (; seconds > 0; seconds -= STEP_SECONDS) {
      this.motion = step(this.motion, this.target, Math.min(seconds, STEP_SECONDS));
    }
    this.turn();
    const isThere = this.motion.angle === this.target && this.motion.velocity === 0;
    this.frame = isThere ? 0 : requestAnimationFrame((then) => this.move(then));
  }

  turn() {
    const bearing = this.motion.angle - Number(this.svg.dataset.straight);
    this.needle.setAttribute("transform", `rotate(${Number(bearing.toFixed(3))})`);
  }
}
