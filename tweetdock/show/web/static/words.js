// What the page says of a reading; the sentences themselves come from the server.

const data = document.body.dataset;
const words = JSON.parse(data.words);
const networks = JSON.parse(data.networks);
const LONG_AGO_MS = 20 * 3600 * 1000; // from then on a time needs its day

export const say = (name, values = {}) =>
  words[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);

export const number = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, "\u202f");

const percent = (covered) => Math.floor(Math.round(covered * 10000) / 100);

const plain = (text) => text.replace(/[\p{C}\p{Z}]/gu, " ");

function duration(seconds) {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

/** A moment as the viewer's own clock would show it, seen from another moment. */
export function time(date, from, second) {
  const day = Math.abs(from - date) > LONG_AGO_MS ? { day: "numeric", month: "short" } : {};
  const clock = { hour: "numeric", minute: "2-digit", second };
  return new Intl.DateTimeFormat(undefined, { ...day, ...clock }).format(date);
}

/** What must be said beside a dial's count. */
export function notes(dial, grade) {
  const isAtRest = grade === "stale" || !dial.known;
  return [
    (grade !== "exact" || !dial.known) && words.at_least,
    dial.pegged && !isAtRest && words.pegged,
    isAtRest && words.at_rest,
  ]
    .filter(Boolean)
    .join(" · ");
}

/** A dial for who cannot see it. */
export function dialWords(title, dial, grade) {
  const note = notes(dial, grade);
  return say("dial", { ...dial, title, note: note && `, ${note}` });
}

const ORDER = ["exact", "filling", "partial", "stale"];

function reason(reading) {
  const sources = Object.entries(reading.sources);
  const speakers = sources.filter(([, source]) => source.detail);
  if (!speakers.length) return "";
  const worst = Math.max(...speakers.map(([, source]) => ORDER.indexOf(source.grade)));
  const [name, source] = speakers.find(([, { grade }]) => grade === ORDER[worst]);
  const detail = plain(source.detail);
  if (sources.length > 1) return `${networks[name]}: ${detail}`;
  return detail.slice(0, 1).toUpperCase() + detail.slice(1);
}

function lastUpdate(reading) {
  const heard = Object.values(reading.sources).map(({ heard_at }) => heard_at);
  const last = heard.filter(Boolean).sort().at(-1);
  return last ? moment(last, reading) : "";
}

/** A moment of a reading as the viewer's own clock would show it. */
const moment = (at, reading) => time(new Date(at), new Date(reading.at));

const SAID = {
  exact: (reading) => moment(reading.certain_until, reading),
  partial: reason,
  stale: lastUpdate,
};

/** The grade in a word, and why it is so. */
export function gradeWords(reading) {
  const { grade } = reading;
  const said = SAID[grade]?.(reading) ?? "";
  const isUnknown = (grade === "partial" || grade === "stale") && !said;
  const values = {
    window: data.window,
    percent: percent(reading.covered),
    reason: said,
    time: said,
  };
  return [words[grade], say(`${grade}_${isUnknown ? "unknown" : "why"}`, values)];
}

/** A source's own grade; one of several that is exact says up to when. */
export function sourceWords(source, reading) {
  const isAlone = Object.keys(reading.sources).length === 1;
  if (source.grade !== "exact" || isAlone) return say(`source_${source.grade}`);
  return say("source_exact_until", { time: moment(source.certain_until, reading) });
}

/** What a source says of itself, unless the grade of the whole has said it already. */
export function detailWords(source, reading) {
  const isSaid = Object.keys(reading.sources).length === 1 && reading.grade === "partial";
  return isSaid ? "" : plain(source.detail);
}

/** How long ago a source last sent something; silence in ms, NaN if it never did. */
export const heardWords = (silence) =>
  Number.isNaN(silence)
    ? words.unheard
    : say("heard", { ago: duration(Math.max(0, silence / 1000)) });

/** The whole reading, for who listens. */
export function spoken(reading) {
  const [grade, why] = gradeWords(reading);
  const { posts, authors } = reading;
  return say("spoken", { posts, authors, window: data.window, grade, why });
}
