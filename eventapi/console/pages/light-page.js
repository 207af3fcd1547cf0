// What the light means, and what a person can do when it is red.

import { html, useState } from "../vendor/preact.js";
import { request } from "../api.js";
import { checkExport } from "../checks.js";
import { stringify } from "../json.js";
import { checkNow, keptKey, keptSize, light, trustAnew } from "../light.js";
import { Button, Failure, Heading, Time, download, useAction } from "../parts/basics.js";
import { SIGNS } from "../parts/layout.js";
import { useStore } from "../store.js";

export function LightPage() {
  const verdict = useStore(light);
  const { run, busy } = useAction(() => checkNow());
  return html`
    <${Heading} title="Light" note="Whether the log is still the one that this browser has seen before.">
      <${Button} busy=${busy} onClick=${run}>Check now<//>
    <//>
    ${verdict &&
    html`<section class="verdict ${verdict.state}" role="status">
      <p><strong><span aria-hidden="true">${SIGNS[verdict.state]}</span> ${verdict.title}</strong></p>
      <p>${verdict.state === "green" ? html`<${Green} verdict=${verdict} />` : verdict.text}</p>
    </section>`}
    ${verdict?.state === "red" && html`<${Red} verdict=${verdict} />`}
    ${verdict?.state === "green" && html`<${Own} />`}
    <h2>What is checked</h2>
    <p>Every change on this server is one line of a log that is only ever appended to. The server signs how long the log is,
      and the root of a tree over all of its lines. This browser keeps the newest signed root. At each visit and every half minute it checks,
      by itself, that the new root is signed with the same key, that the log still begins with the lines it has seen, and
      that it has the newest line that you wrote.
      A line that was changed, removed or exchanged makes that impossible.</p>
    ${keptKey() && html`<p>The key of this log is <code>${keptKey()}</code>. Compare it once with the one that the operator gives you.</p>`}`;
}

const number = (value) => value.toLocaleString("en");

function Green({ verdict }) {
  const { size, since, proven, time } = verdict;
  const history = since
    ? html`It continues the ${number(since.size)} events that this browser saw on <${Time} at=${since.time} />.`
    : "This is the first visit of this browser, so there was nothing to compare it with. From now on there is.";
  return html`The log has ${number(size)} events, and their root is signed by its key. ${history}
    ${proven > 0 && ` Your newest change here, event ${number(proven)}, is one of them, byte for byte.`} Checked on <${Time} at=${time} />.`;
}

function Red({ verdict }) {
  const { run, busy } = useAction(trustAnew);
  const save = () => download("contradiction.json", `${stringify(verdict, 2)}\n`);
  const { kept, shown } = verdict.evidence;
  return html`
    <p>Both checkpoints are kept in this browser. Save them: together they prove what happened, to anyone who has the key.</p>
    <div class="columns">
      <section aria-labelledby="seen"><h2 id="seen">Seen before</h2><pre>${kept ? kept.note : "Nothing was kept."}</pre></section>
      <section aria-labelledby="shown"><h2 id="shown">Shown now</h2><pre>${shown.note}</pre></section>
    </div>
    <div class="buttons">
      <${Button} kind="main" onClick=${save}>Save both checkpoints<//>
      <${Button} busy=${busy} onClick=${run}>I have saved them: trust what is shown now<//>
    </div>`;
}

// Check the proof of every event about the user, as they are exported.
function Own() {
  const [text, setText] = useState("");
  const { run, busy, error } = useAction(async () => {
    setText("");
    const size = keptSize(); // Before the export, which may be older than a later checkpoint.
    const { data } = await request("GET", "/auth/me/export", { as: "text" });
    const { signed, unsigned, checkpoint } = await checkExport(data, keptKey(), size);
    if (checkpoint) await checkNow([checkpoint]);
    const events = unsigned ? "signed events" : "events";
    const rest = unsigned ? ` Not signed yet: ${number(unsigned)}.` : "";
    const found = `All ${number(signed)} ${events} about you and your things are in the log, byte for byte.`;
    setText(`${signed ? found : "Nothing could be checked."}${rest}`);
  });
  return html`<p><${Button} busy=${busy} onClick=${run}>Check everything about me<//>
      ${" "}<span role="status">${text}</span></p>
    <${Failure} error=${error} />`;
}
