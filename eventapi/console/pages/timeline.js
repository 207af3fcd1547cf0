// The events of the log, newest first, and live. New ones wait behind a button, so that no row moves under a pointer.

import { html, useEffect, useMemo, useRef, useState } from "../vendor/preact.js";
import { follow, get } from "../api.js";
import { parse, stringify } from "../json.js";
import { moments } from "../me.js";
import { Button, Empty, Failure, Heading, Loading, Time } from "../parts/basics.js";
import { Search } from "../parts/filters.js";
import { Name } from "../parts/names.js";
import { cursorOf } from "../parts/pager.js";
import { Link, change } from "../router.js";
import { momentOf } from "../times.js";

const ROWS = 50;
const MOST = 1000; // Rows, and events that wait.
const PAUSE_MS = 200;

const NONE = { count: 0, events: [] };

export function Timeline({ who, query }) {
  const { type, subject, actor, at } = query;
  const filters = { type, subject, actor };
  const key = stringify([filters, at]);
  const [rows, setRows] = useState(null);
  const [waiting, setWaiting] = useState(NONE);
  const [more, setMore] = useState(null);
  const [isLive, setLive] = useState(false);
  const [error, setError] = useState(null);
  const [turn, setTurn] = useState(0);
  const read = useRef();

  useEffect(() => {
    const aborter = new AbortController();
    const { signal } = aborter;
    const begin = async () => {
      const last = at || (await get("/health", {}, signal)).position;
      read.current = (after) => eventsUpto(last, { ...filters, after }, signal);
      const page = await read.current();
      show(page.items);
      setMore(page.next);
      setRows(page.items);
      setWaiting(NONE);
      setError(null);
      if (at) return;
      const onEvent = gather(signal, (found) =>
        setWaiting(({ count, events }) => ({ count: count + found.length, events: [...found.toReversed(), ...events].slice(0, MOST) })),
      );
      await followVisibly(signal, { filters, after: last, setLive, onEvent });
    };
    begin().catch((problem) => signal.aborted || setError(problem));
    return () => aborter.abort();
  }, [key, turn]);

  const showWaiting = () => {
    if (waiting.count > MOST) return setTurn(turn + 1); // Some are not kept: begin again at the newest.
    show(waiting.events);
    const all = [...waiting.events, ...rows];
    if (all.length > MOST) setMore(Number(all[MOST - 1].id));
    setRows(all.slice(0, MOST));
    return setWaiting(NONE);
  };
  const showOlder = async () => {
    try {
      const page = await read.current(more);
      show(page.items);
      setRows((others) => [...others, ...page.items]);
      setMore(page.next);
    } catch (problem) {
      setError(problem);
    }
  };
  const table = useMemo(() => rows?.length > 0 && html`<${Events} who=${who} rows=${rows} />`, [who, rows]);
  const state = at ? `up to ${momentOf(at)}` : isLive ? "● live" : "○ not live";
  return html`
    <${Heading} title="Timeline" note="Everything that happened on this server, newest first.">
      <span class="note" role="status">${state}</span>
    <//>
    <${EventFilters} query=${query} />
    <${Failure} error=${error} retry=${() => setTurn(turn + 1)} />
    <p class="waiting" aria-live="polite">
      ${waiting.count > 0 && html`<${Button} kind="main" onClick=${showWaiting}>
        Show ${waiting.count > MOST ? `${MOST.toLocaleString("en")}+` : waiting.count} new ${waiting.count === 1 ? "event" : "events"}<//>`}
    </p>
    ${!rows && !error && html`<${Loading} />`}
    ${rows && !rows.length && html`<${Empty} title="No events match."><p>Remove a filter, or wait: new events appear here.</p><//>`}
    ${table}
    ${more > 1 && html`<p><${Button} onClick=${showOlder}>Earlier events<//></p>`}`;
}

const show = (events) => events.forEach((one) => moments.know(one.id, one.time));

// Hand on the events of a short while together, because the page is rendered each time.
function gather(signal, hand) {
  let found = [];
  const flush = () => {
    if (!signal.aborted) hand(found);
    found = [];
  };
  return (one) => {
    if (!found.length) setTimeout(flush, PAUSE_MS);
    found.push(one);
  };
}

// The stream is closed while its page is hidden: a browser has few connections to one server.
async function followVisibly(signal, { filters, after, setLive, onEvent }) {
  let last = after;
  while (!signal.aborted) {
    const inner = new AbortController();
    const stop = () => (signal.aborted || document.hidden) && inner.abort();
    document.addEventListener("visibilitychange", stop);
    signal.addEventListener("abort", stop);
    if (!document.hidden) {
      await follow("/audit/events", {
        query: filters,
        after: last,
        signal: inner.signal,
        onState: setLive,
        onEvent: (event) => {
          if (event.event === "reset") return;
          last = Number(event.id);
          onEvent(parse(event.data));
        },
      });
    }
    document.removeEventListener("visibilitychange", stop);
    setLive(false);
    if (!signal.aborted) {
      await new Promise((resolve) => {
        document.addEventListener("visibilitychange", resolve, { once: true });
        signal.addEventListener("abort", resolve, { once: true });
      });
    }
  }
}

// Events up to a moment, newest first: {items, next}, where `next` is the `after` of the next page.
async function eventsUpto(until, query, signal) {
  const page = await get("/audit/events", { ...query, until, order: "desc", limit: ROWS }, signal);
  return { items: page.items, next: Number(cursorOf(page)) || null };
}

function EventFilters({ query }) {
  const part = (name, label) =>
    html`<${Search} q=${query[name]} label=${label} on=${(text) => change({ [name]: text.trim() })} />`;
  return html`<div class="filters">
    ${part("type", "Type, such as item.created")} ${part("subject", "Subject, such as items/7")} ${part("actor", "Actor, such as users/1")}
  </div>`;
}

export function Events({ who, rows }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Events">
    <table>
      <thead><tr><th scope="col" class="number">Event</th><th scope="col">Time</th><th scope="col">Type</th><th scope="col">Subject</th><th scope="col">By</th></tr></thead>
      <tbody>
        ${rows.map(
          (one) => html`<tr key=${one.id}>
            <td class="number"><${Link} class="row-link" to="/audit/events/${one.id}">${Number(one.id).toLocaleString("en")}<//></td>
            <td><${Time} at=${one.time} /></td>
            <td>${one.type}</td>
            <td>${one.subject}</td>
            <td><${Name} who=${who} subject=${one.actor} /></td>
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
