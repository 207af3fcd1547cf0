// One event of the log: its line, what is sealed in it, and its proof, which this browser checks.

import { html } from "../vendor/preact.js";
import { request } from "../api.js";
import { checkEvent, rawMember } from "../checks.js";
import { parse } from "../json.js";
import { checkNow, keptKey } from "../light.js";
import { label } from "../openapi.js";
import { Failure, Heading, Loading, Time, download, Button } from "../parts/basics.js";
import { Name } from "../parts/names.js";
import { Value } from "../parts/values.js";
import { Link } from "../router.js";
import { useLoaded } from "../store.js";

export function EventPage({ who, position }) {
  const number = Number(position);
  const load = async (signal) => {
    const { data: text } = await request("GET", `/audit/events/${encodeURIComponent(position)}`, { signal, as: "text" });
    const line = rawMember(text, "record"); // Exactly what is checked; a parser would take a second member of that name.
    const { personal, reason, proof } = parse(text);
    return { line, record: parse(line), personal, reason, proof, text, verdict: await verdictOf(text) };
  };
  const { data, error, reload } = useLoaded(load, []);
  return html`
    <${Heading} title="Event ${number.toLocaleString("en")}" note=${html`<${Link} to="/audit/events">Timeline<//> / ${position}`}>
      ${number > 1 && html`<${Link} class="button" to="/audit/events/${number - 1}">Earlier<//>`}
      <${Link} class="button" to="/audit/events/${number + 1}">Later<//>
    <//>
    <${Failure} error=${error} retry=${reload} />
    ${!data && !error && html`<${Loading} />`}
    ${data && html`<${Opened} who=${who} ...${data} />`}`;
}

async function verdictOf(text) {
  try {
    const light = await checkNow();
    const key = keptKey();
    if (!key) return { state: "amber", text: `The proof cannot be checked. ${light.text || ""}` };
    const { index, checkpoint } = await checkEvent(text, key);
    const together = await checkNow([checkpoint]);
    if (together.state !== "green") return { state: together.state, text: `${together.title}. ${together.text}` };
    return {
      state: "green",
      text: `This browser checked it: these bytes are line ${(index + 1).toLocaleString("en")} of the ${checkpoint.size.toLocaleString("en")} that ${checkpoint.origin} has signed, and that log continues what this browser saw before.`,
    };
  } catch (error) {
    return { state: "red", text: `The proof is wrong: ${error.message}.` };
  }
}

function Opened({ who, line, record, personal, reason, proof, text, verdict }) {
  const [collection, id] = record.subject.split("/");
  const { sealed, clear, ...others } = record.data;
  const shown = { ...others, ...clear };
  const resource = who.resources.find((one) => one.collection === collection);
  const page = resource ? `/${collection}/${id}` : collection === "users" || collection === "webhooks" ? `/${collection}/${id}` : null;
  return html`
    <p class="verdict ${verdict.state}" role="status">${verdict.text}</p>
    <div class="columns">
      <section aria-labelledby="event">
        <h2 id="event">What happened</h2>
        <dl class="facts">
          <dt>Type</dt><dd>${record.type}</dd>
          <dt>Subject</dt><dd>${page ? html`<${Link} to=${page}>${record.subject}<//>` : record.subject}</dd>
          <dt>Time</dt><dd><${Time} at=${record.time} /></dd>
          <dt>By</dt><dd><${Name} who=${who} subject=${record.actor} /></dd>
          ${record.requestid && html`<dt>Request</dt><dd><code>${record.requestid}</code></dd>`}
          <dt>Hash</dt><dd><code>${record.hash}</code></dd>
        </dl>
        ${Object.keys(shown).length > 0 && html`<h2>In the clear</h2><${Members} members=${shown} />`}
      </section>
      <section aria-labelledby="sealed">
        <h2 id="sealed">Sealed</h2>
        <${Sealed} isThere=${Boolean(sealed)} personal=${personal} reason=${reason} />
      </section>
    </div>
    <details><summary>The line and its proof</summary>
      <pre>${line}</pre><pre>${proof}</pre>
      <${Button} onClick=${() => download(`event-${record.id}.json`, text)}>Save both<//>
    </details>`;
}

// Personal values, or the reason of the change alone, or both. Secrets among the values are withheld.
function Sealed({ isThere, personal, reason }) {
  if (!isThere) return html`<p>Nothing is sealed in this event.</p>`;
  if (!personal && !reason) return html`<p>Its key was destroyed, so this can never be read again.</p>`;
  const isSecret = personal && !Object.keys(personal).length;
  return html`${reason && html`<p class="reason">“${reason}”</p>`}
    ${isSecret ? html`<p>It is a secret, which is never shown.</p>` : personal && html`<${Members} members=${personal} />`}`;
}

const Members = ({ members }) =>
  html`<dl class="facts">
    ${Object.entries(members).map(([name, value]) => html`<dt>${label(name)}</dt><dd><${Value} value=${value} /></dd>`)}
  </dl>`;
