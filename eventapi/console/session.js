// The tokens of this browser, shared by all of its tabs in localStorage.
//
// A refresh token works once. A lock lets one tab at a time renew, and the others then find the new tokens. Where
// there are no locks (a page without TLS), the server's grace for tabs that race covers it.

import { parse, stringify } from "./json.js";
import { createStore } from "./store.js";

export const root = new URL("../../", import.meta.url);
export const api = new URL("api/v2/", root).href.replace(/\/$/, "");

const KEY = `eventapi.session ${root.pathname}`;

const read = () => parse(localStorage.getItem(KEY) || "null");

export const session = createStore(read());

// Whether the session has ended without the person: it is too old, or was ended elsewhere.
export const hasExpired = createStore(false);

addEventListener("storage", (event) => {
  if (event.key !== KEY && event.key !== null) return;
  const kept = read();
  if (kept) hasExpired.set(false);
  session.set(kept);
});

export function keepTokens(pair) {
  const kept = { access: pair.access_token, refresh: pair.refresh_token };
  localStorage.setItem(KEY, stringify(kept));
  hasExpired.set(false);
  session.set(kept);
}

export function forgetTokens() {
  localStorage.removeItem(KEY);
  session.set(null);
}

// A new access token in place of one that the server refused; null if the session has ended.
export function renew(refused) {
  const once = () => renewOnce(refused);
  return navigator.locks ? navigator.locks.request(KEY, once) : once();
}

// The release of a lock can reach another tab before the new tokens do. A tab that has renewed therefore holds a lock
// with the name of the refused token for a while, and a tab that finds it waits for the tokens.
const LONGEST_WAIT = 5_000; // ms
const MARKED = 30_000; // ms

const nameOf = (refused) => `${KEY} renewed ${refused}`;

let release = () => {};

const markRenewed = (refused) =>
  new Promise((resolve) => {
    if (!navigator.locks) return resolve();
    release();
    const hold = () => {
      resolve();
      return new Promise((ended) => {
        release = ended;
        setTimeout(ended, MARKED);
      });
    };
    navigator.locks.request(nameOf(refused), { mode: "shared" }, hold).catch(resolve);
  });

const isRenewed = async (refused) =>
  navigator.locks && (await navigator.locks.query()).held.some(({ name }) => name === nameOf(refused));

const tokensInPlaceOf = (refused) =>
  new Promise((resolve) => {
    const look = () => read()?.access !== refused && resolve(stop());
    const stop = session.subscribe(look);
    setTimeout(() => resolve(stop()), LONGEST_WAIT);
    look();
  });

const isLate = async (refused) => read()?.access === refused && (await isRenewed(refused));

async function renewOnce(refused) {
  if (await isLate(refused)) await tokensInPlaceOf(refused);
  // The kept refresh token is spent: sent again, it would end the session of all tabs.
  if (await isLate(refused)) throw new Error("the new tokens of another tab are late");
  const kept = read();
  if (kept === null || kept.access !== refused) {
    session.set(kept); // Another tab was faster.
    return kept && kept.access;
  }
  const response = await fetch(`${api}/auth/refresh`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: stringify({ refresh_token: kept.refresh }),
    cache: "no-store",
  });
  if (response.ok) {
    keepTokens(await response.json());
    await markRenewed(refused);
    return read()?.access || null;
  }
  if (response.status !== 401 && response.status !== 422) throw response;
  if (read()?.refresh === kept.refresh) {
    hasExpired.set(true);
    forgetTokens();
  }
  return null;
}
