// Requests to the public API, and its errors as sentences.

import { parse, stringify } from "./json.js";
import { createStore } from "./store.js";
import { api, renew, session } from "./session.js";

// The newest position that the server acknowledged to this page; the log must never be shorter.
export const acknowledged = createStore(0);

export class Problem extends Error {
  constructor(status, content, retryAfter) {
    super(sentence(status, content, retryAfter));
    this.status = status;
    this.slug = (content.type || "").split("/").pop();
    this.content = content;
    this.faults = content.errors || [];
  }
}

function sentence(status, content, retryAfter) {
  if (status === 0) return "The server cannot be reached. Check the connection and try again.";
  if (status === 429) return `Too many requests. Try again in ${retryAfter || "some"} seconds.`;
  if (status >= 500) {
    const id = content.request_id ? ` (request ${content.request_id})` : "";
    return `${ended(content.detail || content.title || "The server failed")} Try again later${id}.`;
  }
  const faults = (content.errors || []).map((one) => ended(`${nameOf(one.pointer)} ${one.detail}`));
  return faults.join(" ") || ended(content.detail || content.title || "The request was refused");
}

const nameOf = (pointer) => (pointer || "").replace(/^\//, "").replaceAll("/", " ").replaceAll("_", " ");

const ended = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

// Send a request. Returns {data, position, etag, may, response}; `may(method)` says what the person may
// do there. Throws `Problem`. With `as: "text"` or "response" the body is a text, or not read. A refused
// access token is renewed once.
export async function request(method, path, { body, query, headers = {}, signal, as = "json" } = {}) {
  const url = new URL(/^https?:/.test(path) ? path : api + path);
  for (const [name, value] of Object.entries(query || {})) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  }
  const options = { method, signal, cache: "no-store", headers: { ...headers } };
  if (body !== undefined) {
    options.body = stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let response = await send(url, options);
  const used = options.headers.Authorization?.slice(7);
  if (response.status === 401 && used) {
    const renewed = await renew(used).catch((error) => {
      throw new Problem(error.status || 0, {});
    });
    if (renewed) response = await send(url, options);
  }
  if (!response.ok && response.status !== 304) throw await problemOf(response);
  const position = Number(response.headers.get("Event-Position")) || null;
  if (position) acknowledged.set((last) => Math.max(last, position));
  const etag = response.headers.get("ETag");
  const allowed = (response.headers.get("Allow") || "").split(", ");
  const may = (wanted) => allowed.includes(wanted);
  let data = null;
  if (as === "text") data = await response.text();
  else if (as === "json" && response.status !== 204 && response.status !== 202) data = parse(await response.text());
  return { data, position, etag, may, response };
}

async function send(url, options) {
  const kept = session.get();
  if (kept) options.headers.Authorization = `Bearer ${kept.access}`;
  try {
    return await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, {});
  }
}

async function problemOf(response) {
  const content = await response.json().catch(() => ({}));
  return new Problem(response.status, content, response.headers.get("Retry-After"));
}

export const get = async (path, query, signal) => (await request("GET", path, { query, signal })).data;

// Follow a stream of server-sent events until `signal` is aborted, from after a position. A lost connection is opened
// again. `onState` gets true while the stream is open.
export async function follow(path, { query, after, signal, onEvent, onState }) {
  let last = after;
  for (let pause = 1000; !signal.aborted; pause = Math.min(pause * 2, 30_000)) {
    try {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": String(last) };
      const { response } = await request("GET", path, { query, headers, signal, as: "response" });
      onState(true);
      pause = 1000;
      for await (const event of eventsOf(response.body)) {
        if (event.id) last = Number(event.id);
        if (event.event === "reset") last = parse(event.data).position;
        if (event.data) onEvent(event);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401 || error.status === 403) throw error;
    }
    onState(false);
    await new Promise((resolve) => {
      setTimeout(resolve, pause);
      signal.addEventListener("abort", resolve, { once: true });
    });
  }
}

async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = {};
      for (const line of block.split("\n")) {
        const at = line.indexOf(":");
        if (at > 0) event[line.slice(0, at)] = line.slice(at + 1).replace(/^ /, "");
      }
      yield event;
    }
  }
}

// What needs no session: sign in, the code of a second factor, a new account.
export const signIn = (username, password) =>
  request("POST", "/auth/login", { body: { username, password } });
export const secondFactor = (challenge, code) =>
  request("POST", "/auth/login/second-factor", { body: { challenge, code } });
