// What differs between two moments, thing by thing and field by field.

import { html } from "../vendor/preact.js";
import { get } from "../api.js";
import { has, label } from "../openapi.js";
import { Empty, Failure, Heading, Loading } from "../parts/basics.js";
import { Pager } from "../parts/pager.js";
import { Value } from "../parts/values.js";
import { change } from "../router.js";
import { useLoaded } from "../store.js";

export function Diff({ who, query }) {
  const { from, to, subject, after } = query;
  const isThere = has(who.document, "audit/diff");
  const load = async (signal) => {
    const { position } = await get("/health", {}, signal);
    const [first, last] = [from || String(Math.max(1, position - 10)), to || String(position)];
    const page = isThere ? await get("/audit/diff", { from: first, to: last, subject, after }, signal) : null;
    return { first, last, position, page };
  };
  const { data, error, loading } = useLoaded(load, [from, to, subject, after]);
  const send = (event) => {
    event.preventDefault();
    const form = Object.fromEntries(new FormData(event.target));
    change({ ...form, after: undefined });
  };
  if (!isThere) return html`<${Heading} title="Differences" /><${Empty} title="This server cannot compare two moments." />`;
  return html`
    <${Heading} title="Differences" note="What is different between two moments." />
    ${data &&
    html`<form class="filters" onSubmit=${send} key="${data.first} ${data.last}">
      <label>From <input name="from" value=${data.first} aria-describedby="moment" /></label>
      <label>To <input name="to" value=${data.last} aria-describedby="moment" /></label>
      <label>Subject <input name="subject" value=${subject || ""} placeholder="all" /></label>
      <button class="main" disabled=${loading}>Compare</button>
    </form>
    <p class="note" id="moment">A moment is the number of an event, or a time such as 2026-01-02T03:04:05Z. The log has ${data.position.toLocaleString("en")} events.</p>`}
    <${Failure} error=${error} />
    ${!data && !error && html`<${Loading} />`}
    ${data && !error && html`<${Differences} page=${data.page} /><${Pager} after=${after} page=${data.page} />`}`;
}

function Differences({ page }) {
  if (!page.items.length) return html`<${Empty} title="Nothing differs between these moments." />`;
  return html`${page.items.map((one) => html`<${Difference} key=${one.subject} one=${one} />`)}`;
}

function Difference({ one }) {
  return html`<section class="difference">
    <h2>${one.subject} <span class="note">${one.change}</span></h2>
    <dl class="facts">
      ${Object.entries(one.fields).map(
        ([name, { before, after }]) =>
          html`<dt>${label(name)}</dt><dd>${one.change === "created" ? "" : html`<${Value} value=${before} /> → `}<${Value} value=${after} /></dd>`,
      )}
      ${one.sealed.map((name) => html`<dt>${label(name)}</dt><dd>differs, and is sealed</dd>`)}
    </dl>
    ${!one.readable && html`<p class="note">The key was destroyed, so only what is in the clear is compared.</p>`}
  </section>`;
}
