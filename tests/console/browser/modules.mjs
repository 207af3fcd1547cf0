// Call one function of the console's modules: the name is an argument, the value comes as JSON.

import { readFileSync } from "node:fs";
import { checkExport, rawMember } from "./console/checks.js";
import { isConsistent, rootFromInclusion, same } from "./console/merkle.js";
import { isSigned, parseCheckpoint, parseConsistency, parseInclusion, parseKey } from "./console/notes.js";
import { resources } from "./console/openapi.js";
import { grouped } from "./console/parts/values.js";
import { createMoments, day, inUtc, inZone, instantOf, isLater, localText } from "./console/times.js";

const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const all = (cases, work) => Promise.all(cases.map((given) => work(...given)));

const functions = {
  consistency: (cases) =>
    all(cases, async (old, size, oldRoot, text) => {
      const { hashes, checkpoint } = parseConsistency(text);
      return isConsistent(old, size, bytes(oldRoot), checkpoint.root, hashes);
    }),
  inclusion: (cases) =>
    all(cases, async (leaf, text) => {
      const { index, hashes, checkpoint } = parseInclusion(text);
      const root = await rootFromInclusion(index, checkpoint.size, bytes(leaf), hashes);
      return root !== null && same(root, checkpoint.root);
    }),
  signed: (cases) => all(cases, async (vkey, note) => isSigned(parseCheckpoint(note), await parseKey(vkey))),
  // What a check of each export finds, or the reason why it fails.
  exports: (cases) =>
    all(cases, async (text, vkey, size) =>
      checkExport(text, vkey, size).then(({ signed, unsigned }) => [signed, unsigned], (error) => error.message)),
  // Whether a tab says that its session has ended, before and after another tab keeps each value.
  expired: async (values) => {
    let kept = null;
    globalThis.localStorage = { getItem: () => kept };
    const listeners = [];
    globalThis.addEventListener = (name, listener) => listeners.push(listener);
    const { hasExpired } = await import("./console/session.js");
    hasExpired.set(true);
    return values.map((value) => {
      kept = value;
      for (const listener of listeners) listener({ key: null });
      return hasExpired.get();
    });
  },
  member: (texts) => texts.map((text) => rawMember(text, "record")),
  moments: ({ known, positions }) => {
    const moments = createMoments();
    known.forEach((pair) => moments.know(...pair));
    return positions.map((one) => moments.timeOf(one));
  },
  // How many of so many known positions are still known.
  thinned: (count) => {
    const moments = createMoments();
    const time = (position) => new Date(position * 60_000).toISOString();
    for (let position = 1; position <= count; position++) moments.know(position, time(position));
    const found = Array.from({ length: count }, (_, place) => ({ ...moments.timeOf(place + 1), wanted: time(place + 1) }));
    return { exact: found.filter((one) => one.isExact).length, right: found.every((one) => one.time === one.wanted), ends: [found[0], found.at(-1)].every((one) => one.isExact) };
  },
  later: (cases) => cases.map(([event, at]) => isLater(event, at)),
  days: (texts) => texts.map(day),
  grouped: (numbers) => numbers.map(grouped),
  // What an input of the browser shows for each time, and the time of what it then has.
  inputs: ({ zone, times }) => {
    process.env.TZ = zone;
    return times.map((time) => [localText(time), instantOf(localText(time))]);
  },
  instants: ({ zone, texts }) => {
    process.env.TZ = zone;
    return texts.map(instantOf);
  },
  times: ([text, zone]) => [inZone(text, zone), inUtc(text)],
  resources: (document) => resources(document),
};

const value = JSON.parse(readFileSync(0, "utf-8"));
console.log(JSON.stringify(await functions[process.argv[2]](value)));
