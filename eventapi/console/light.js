// The light: run the checks at the start and then again and again, and keep the last good checkpoint in this browser.

import { acknowledged, request } from "./api.js";
import { RED, check, rawMember } from "./checks.js";
import { parse, stringify } from "./json.js";
import { parseCheckpoint } from "./notes.js";
import { root, session } from "./session.js";
import { createStore } from "./store.js";

const KEY = `eventapi.light ${root.pathname}`;
const EVERY_MS = 30_000;

const read = () => parse(localStorage.getItem(KEY) || "{}");

// The last verdict; null before the first. A red one is kept until a person decides, also over a reload.
export const light = createStore(read().red || null);

const fetchText = async (path) => (await request("GET", path, { as: "text" })).data;

const pause = () => new Promise((resolve) => setTimeout(resolve, 1000));

let running = null;

export function checkNow(heads = []) {
  running ||= inTurn(heads).finally(() => (running = null));
  return running;
}

// One tab at a time, or an older answer could replace a newer checkpoint.
const inTurn = (heads) => (navigator.locks ? navigator.locks.request(KEY, () => once(heads)) : once(heads));

// The newest position that is proven to be what this page wrote there, and the one up to which nothing is left to prove.
let proven = 0;
let settled = 0;

// The newest line that this page has written, with its proof; null if there is none to prove. A change to what belongs to
// another user cannot be exported.
async function ownLine(position) {
  if (position <= settled || !session.get()) return null;
  const query = { after: position - 1 };
  const answer = await request("GET", "/auth/me/export", { query, as: "text" }).catch(() => null);
  if (!answer) return null;
  const isOwn = (line) => parse(rawMember(line, "record")).id === String(position);
  const own = answer.data.split("\n").find((line) => line && isOwn(line));
  if (!own) settled = position;
  return own && parse(own).proof ? own : null;
}

async function once(heads) {
  const { kept = null, red = null } = read();
  const least = acknowledged.get();
  const verdict = red || (await check({ get: fetchText, kept, heads, least, own: () => ownLine(least), pause }));
  if (verdict.own) proven = settled = verdict.own;
  if (verdict.state === RED) localStorage.setItem(KEY, stringify({ kept, red: verdict }));
  else if (verdict.keep) localStorage.setItem(KEY, stringify({ kept: verdict.keep }));
  light.set({ ...verdict, proven, time: verdict.time || new Date().toISOString() });
  return verdict;
}

export const keptKey = () => read().kept?.vkey;

export const keptSize = () => parseCheckpoint(read().kept.note).size;

// A person has read the contradiction, and trusts what the server shows from now on.
export function trustAnew() {
  localStorage.removeItem(KEY);
  light.set(null);
  acknowledged.set(0);
  proven = settled = 0;
  return checkNow();
}

export function start() {
  checkNow();
  setInterval(() => document.visibilityState === "visible" && checkNow(), EVERY_MS);
  addEventListener("storage", (event) => {
    if (event.key === KEY && read().red) light.set(read().red);
  });
}
