// The way through time: a slider over the positions of the log. The moment is in the address bar as `at`.

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { get } from "../api.js";
import { learnExactly, learnMoments, moments } from "../me.js";
import { change, route } from "../router.js";
import { useLoaded, useStore } from "../store.js";
import { inUtc, inZone, instantOf, isPosition, localText } from "../times.js";
import { Button } from "./basics.js";

const PAUSE_MS = 150;

export function TimeBar({ who, close }) {
  const { at } = useStore(route).query;
  const [value, setValue] = useState(null);
  const [, learned] = useState(0);
  const timer = useRef();
  const { data: last } = useLoaded(async () => {
    const { position } = await get("/health");
    await learnMoments(who.isAuditor, position).catch(() => {});
    return position;
  }, [who]);
  const chosen = at && (isPosition(at) ? Number(at) : last && moments.positionAt(at, last));
  const shown = value ?? chosen ?? last;

  useEffect(() => {
    if (!who.isAuditor || !shown) return undefined;
    const aborter = new AbortController();
    learnExactly(shown, aborter.signal).then(() => learned(shown), () => {});
    return () => aborter.abort();
  }, [at, last]);
  useEffect(() => setValue(null), [at]);

  const travel = (position) => {
    setValue(position);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      if (position >= last && !at) setValue(null);
      change({ at: position >= last ? undefined : position, after: undefined });
    }, PAUSE_MS);
  };
  const toTime = (event) => event.target.value && change({ at: instantOf(event.target.value), after: undefined });
  if (!last) return html`<section class="time-bar" aria-label="Time travel"><p>Loading…</p></section>`;
  const found = at && !isPosition(at) && value === null ? { time: at, isExact: true } : moments.timeOf(shown);
  const when = found ? `${found.isExact ? "" : "about "}${inZone(found.time)}` : "";
  const isNow = !at && shown >= last;
  return html`<section class="time-bar" aria-label="Time travel">
    <${Button} aria-label="One event earlier" disabled=${shown <= 1} onClick=${() => travel(shown - 1)}>◂<//>
    <label class="slider"><span class="hidden">Moment</span>
      <input type="range" min="1" max=${last} value=${shown} aria-valuetext="${isNow ? "now" : when}, event ${shown} of ${last}"
        onInput=${(event) => travel(Number(event.target.value))} />
    </label>
    <${Button} aria-label="One event later" disabled=${shown >= last} onClick=${() => travel(shown + 1)}>▸<//>
    <p class="moment" title=${found ? inUtc(found.time) : ""}>
      <strong>${isNow ? "Now" : when}</strong> <span>event ${shown.toLocaleString("en")} of ${last.toLocaleString("en")}</span>
    </p>
    <label class="jump"><span class="hidden">Go to a time</span>
      <input type="datetime-local" step="1" value=${found ? localText(found.time) : ""} onChange=${toTime} />
    </label>
    <${Button} kind="main" onClick=${() => (change({ at: undefined, after: undefined }), close())}>
      ${isNow ? "Close" : "Back to now"}<//>
  </section>`;
}

// What a page says while it shows the past.
export const PastNote = ({ at }) =>
  at && html`<p class="past-note">This is an earlier moment, so nothing can be changed here.</p>`;

// What a page says that has no past.
export const PresentNote = () =>
  html`<p class="past-note">This page has no earlier moment: it shows the present, and nothing can be changed here until you are back at now.</p>`;
