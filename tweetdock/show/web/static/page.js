// The page comes alive: each reading is put in its places.

import { Chart } from "./chart.js";
import { Dial } from "./dials.js";
import { Line } from "./line.js";
import {
  detailWords,
  gradeWords,
  heardWords,
  number,
  say,
  sourceWords,
  spoken,
  time,
} from "./words.js";

const LONG_LOSS_MS = 300000; // after so long TweetDock may be another: the page is fetched anew
const LEAST_RELOAD_MS = 10000;
const SPEAK_MS = 60000;
const LASTING_LOSS_MS = 2000; // a shorter one is seen, but not spoken of

const root = document.documentElement;
const find = (places, within = document) => within.querySelector(places);
const dials = [...document.querySelectorAll(".dial")].map((svg) => new Dial(svg));
const chart = new Chart(find("#chart"));
const first = JSON.parse(document.body.dataset.reading);
const shape = shapeOf(first);
let latest = null;
let receivedAt = 0; // of the page's own clock, never the server's
let receivedOn = new Date();
let lostAt = 0;
let mourning = 0;
let isMourned = false;
let spokenAt = -SPEAK_MS;
let spokenGrade = root.dataset.grade;

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** What of a reading the page was made for. */
function shapeOf({ hashtags, subject, sources = {}, window_seconds, demo, replay }) {
  const names = Object.keys(sources);
  return JSON.stringify({ hashtags, subject, sources: names, window_seconds, demo, replay });
}

function reload() {
  let wait = 0;
  try {
    const last = Number(sessionStorage.getItem("reloaded"));
    wait = Math.max(0, Math.min(LEAST_RELOAD_MS, last + LEAST_RELOAD_MS - Date.now()));
    sessionStorage.setItem("reloaded", Date.now() + wait);
  } catch {
    wait = LEAST_RELOAD_MS; // nothing may be kept here: never in a hurry
  }
  setTimeout(() => location.reload(), wait);
  hear = () => false;
  return false;
}

/** Show a reading; whether it could be shown, as it may be one for another page. */
let hear = (reading) => {
  if (shapeOf(reading) !== shape) return reload();
  if (lostAt && performance.now() - lostAt > LONG_LOSS_MS) return reload();
  latest = reading;
  receivedAt = performance.now();
  receivedOn = new Date();
  root.dataset.grade = reading.grade;
  for (const dial of dials) dial.show(reading.dials[dial.name], reading.grade);
  showGrade(reading);
  showSources(reading);
  chart.add(reading);
  speak(reading);
  return true;
};

function showGrade(reading) {
  const [word, why] = gradeWords(reading);
  write(find("#word"), word);
  write(find("#why"), why);
  find("#grade .glyph").dataset.grade = reading.grade;
}

function showSources(reading) {
  const most = Math.max(1, ...Object.values(reading.sources).map(({ posts }) => posts));
  for (const item of document.querySelectorAll("#sources li")) {
    const source = reading.sources[item.dataset.source];
    write(find(".posts", item), number(source.posts));
    write(find(".authors", item), number(source.authors));
    write(find(".source-grade", item), sourceWords(source, reading));
    write(find(".detail", item), detailWords(source, reading));
    find(".share", item).setAttribute("width", ((100 * source.posts) / most).toFixed(1));
    find(".glyph", item).dataset.grade = source.grade;
  }
  showSilences();
}

function showSilences() {
  if (!latest) return;
  const since = performance.now() - receivedAt;
  for (const item of document.querySelectorAll("#sources li")) {
    const { heard_at } = latest.sources[item.dataset.source];
    const silence = heard_at ? Date.parse(latest.at) - Date.parse(heard_at) + since : NaN;
    write(find(".heard", item), heardWords(silence));
  }
}

/** For who listens: a grade at once, the counts once a minute. */
function speak(reading) {
  const isDue = performance.now() - spokenAt >= SPEAK_MS;
  if (reading.grade === spokenGrade && !isDue) return;
  spokenGrade = reading.grade;
  spokenAt = performance.now();
  write(find("#spoken"), spoken(reading));
}

/** Take back whatever calls itself true: nobody knows how things stand. */
function lose() {
  lostAt = performance.now();
  root.dataset.lost = "";
  const since = time(receivedOn, new Date(), "2-digit");
  const words = say("lost", { time: since });
  write(find("#lost span"), words);
  write(find("#word"), say("stale"));
  write(find("#why"), say("lost_why"));
  for (const place of document.querySelectorAll(".source-grade")) write(place, say("source_stale"));
  for (const glyph of document.querySelectorAll(".glyph")) glyph.dataset.grade = "stale";
  for (const { svg, title } of root.dataset.grade === "none" ? [] : dials) {
    const count = find(".count", svg).textContent.replace(/\s/g, "");
    svg.setAttribute("aria-label", say("dial_lost", { title, count, time: since }));
  }
  mourning = setTimeout(mourn, LASTING_LOSS_MS, words);
  chart.draw();
}

function mourn(words) {
  isMourned = true;
  write(find("#spoken"), words);
}

function findAgain() {
  lostAt = 0;
  clearTimeout(mourning);
  delete root.dataset.lost;
  if (isMourned) write(find("#spoken"), `${say("found")} ${spoken(latest)}`);
  isMourned = false;
  chart.read();
}

document.addEventListener("visibilitychange", () => {
  for (const dial of dials) dial.jump();
});
setInterval(showSilences, 1000);
if (first.at) {
  // What the server has said, by the viewer's own clock.
  showGrade(first);
  showSources(first);
}
new Line({ hear: (reading) => hear(reading), lose, find: findAgain });
root.dataset.watched = ""; // from here on a silence is noticed; before, it is up to page.css
