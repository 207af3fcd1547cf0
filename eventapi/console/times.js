// Times in the reader's zone, and the times of positions of the log. Pure functions.

const DAY = { day: "numeric", month: "short", year: "numeric" };
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };

export function inZone(text, timeZone) {
  const time = new Date(text);
  const day = new Intl.DateTimeFormat("en-GB", { ...DAY, timeZone }).format(time);
  return `${day}, ${new Intl.DateTimeFormat("en-GB", { ...CLOCK, timeZone }).format(time)}`;
}

export const inUtc = (text) => `${inZone(text, "UTC")} UTC`;

export function day(text) {
  const [year, month, date] = text.split("-").map(Number);
  return new Intl.DateTimeFormat("en-GB", { ...DAY, timeZone: "UTC" }).format(Date.UTC(year, month - 1, date));
}

export function ago(text, now = Date.now()) {
  const seconds = Math.round((now - new Date(text)) / 1000);
  if (seconds < 60) return "just now";
  for (const [unit, size] of [["day", 86_400], ["hour", 3_600], ["minute", 60]]) {
    if (seconds >= size) return new Intl.RelativeTimeFormat("en").format(-Math.floor(seconds / size), unit);
  }
  return text;
}

export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  const step = Math.min(Math.floor(Math.log10(Math.max(number, 1)) / 3), units.length - 1);
  return `${(number / 1000 ** step).toLocaleString("en", { maximumFractionDigits: 1 })} ${units[step]}`;
}

// Positions whose times are known, from everything that a page has loaded. Positions and times grow together, so the
// time of any other position is between those of its neighbours.
export function createMoments() {
  const times = new Map();
  return {
    know(position, time) {
      if (position && time) times.set(Number(position), Date.parse(time));
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
