// Times in the reader's zone, and the times of positions of the log. Pure functions.

const DAY = { day: "numeric", month: "short", year: "numeric" };
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };

// To make a format takes as long as to use it some hundred times.
const formats = new Map();

function formatsOf(zone) {
  if (!formats.has(zone)) {
    formats.set(zone, [DAY, CLOCK].map((parts) => new Intl.DateTimeFormat("en-GB", { ...parts, timeZone: zone })));
  }
  return formats.get(zone);
}

// A text that is no time, as an address may have, is returned as it is.
export function inZone(text, timeZone) {
  if (Number.isNaN(Date.parse(text))) return text;
  return `${dayIn(timeZone, text)}, ${formatsOf(timeZone)[1].format(new Date(text))}`;
}

export const inUtc = (text) => `${inZone(text, "UTC")} UTC`;

export const day = (text) => dayIn("UTC", text);

// "1 Mar 50" would be one of this century.
const dayIn = (zone, text) => formatsOf(zone)[0].format(new Date(text)).replace(/\d+$/, (year) => year.padStart(4, "0"));

// The text of a time in an input of the browser: in its zone, with whole seconds. "" for a text that is no time.
export function localText(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "";
  return new Date(date - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

// The time, as the API has it, of a text in such an input. Any other text is returned as it is, for the server to judge.
export function instantOf(text) {
  const [, day, clock] = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)$/.exec(text) || [];
  const date = new Date(`${day}T${clock}`);
  return Number.isNaN(date.getTime()) ? text : date.toISOString();
}

// A moment is a position of the log, or a time.
export const isPosition = (at) => /^\d+$/.test(at);

export const momentOf = (at) => (isPosition(at) ? `event ${Number(at).toLocaleString("en")}` : inZone(at));

// Whether an event, {position, time}, is later than a moment.
export const isLater = ({ position, time }, at) =>
  isPosition(at) ? position > Number(at) : microseconds(time) > microseconds(at);

// Since 1970; NaN for a text that is no RFC 3339 time. A Date would cut the last three digits.
function microseconds(text) {
  const [, time, digits = "", zone] = /^([^.]*?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/i.exec(text) || [];
  return Date.parse(time + zone) * 1000 + Number(digits.slice(0, 6).padEnd(6, "0"));
}

export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  const step = Math.min(Math.floor(Math.log10(Math.max(number, 1)) / 3), units.length - 1);
  return `${(number / 1000 ** step).toLocaleString("en", { maximumFractionDigits: 1 })} ${units[step]}`;
}

// Positions whose times are known, from everything that a page has loaded. Positions and times grow together, so the
// time of any other position is between those of its neighbours; so of too many, every second one is forgotten.
const MOST_MOMENTS = 2000;

export function createMoments() {
  const times = new Map();
  return {
    know(position, time) {
      if (!position || !time) return;
      times.set(Number(position), Date.parse(time));
      if (times.size <= MOST_MOMENTS) return;
      const known = [...times.keys()].sort((one, other) => one - other);
      known.slice(0, -1).forEach((one, place) => place % 2 && times.delete(one));
    },
    // {time, isExact}, or null if nothing is known on one side.
    timeOf(position) {
      if (times.has(position)) return { time: new Date(times.get(position)).toISOString(), isExact: true };
      let [before, after] = [null, null];
      for (const known of times.keys()) {
        if (known < position && (before === null || known > before)) before = known;
        if (known > position && (after === null || known < after)) after = known;
      }
      if (before === null && after === null) return null;
      if (before === null || after === null) {
        return { time: new Date(times.get(before ?? after)).toISOString(), isExact: false };
      }
      const share = (position - before) / (after - before);
      const [start, end] = [times.get(before), times.get(after)];
      return { time: new Date(start + share * (end - start)).toISOString(), isExact: false };
    },
    // The last position that is known, or estimated, to be at or before a time.
    positionAt(time, last) {
      const wanted = Date.parse(time);
      let [low, high] = [0, last];
      while (low < high) {
        const middle = Math.ceil((low + high) / 2);
        const found = this.timeOf(middle);
        if (found && Date.parse(found.time) <= wanted) low = middle;
        else high = middle - 1;
      }
      return low;
    },
  };
}
