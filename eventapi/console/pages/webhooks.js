// Webhooks and how their deliveries go, for operators; auditors may look.

import { html, useState } from "../vendor/preact.js";
import { get, request } from "../api.js";
import { formOf } from "../openapi.js";
import { Button, Dialog, Empty, Failure, Heading, Loading, Secret, Time, say, useAction } from "../parts/basics.js";
import { Form } from "../parts/form.js";
import { Link, go } from "../router.js";
import { useLoaded } from "../store.js";

const stateOf = (one) => {
  if (one.disabled) return one.disabled_reason && one.disabled_reason !== "operator" ? `disabled: ${one.disabled_reason}` : "disabled";
  return one.failing_since ? "failing" : "delivering";
};

export function Webhooks({ who }) {
  const [isNew, setNew] = useState(false);
  const [made, setMade] = useState(null);
  const { data, error, reload } = useLoaded((signal) => get("/webhooks", {}, signal), []);
  const rows = data?.items || data || [];
  const create = async (body) => {
    setMade((await request("POST", "/webhooks", { body })).data);
    setNew(false);
    reload();
  };
  return html`
    <${Heading} title="Webhooks" note="Other servers that are told what happens here.">
      ${who.isOperator && html`<${Button} kind="main" onClick=${() => setNew(true)}>New webhook<//>`}
    <//>
    <${Failure} error=${error} retry=${reload} />
    ${!data && !error && html`<${Loading} />`}
    ${data && !rows.length && html`<${Empty} title="There are no webhooks yet."><p>A webhook gets every event that you choose, signed and in order.</p><//>`}
    ${rows.length > 0 &&
    html`<div class="scroll" tabindex="0" role="region" aria-label="Webhooks"><table>
      <thead><tr><th scope="col">Address</th><th scope="col">Events</th><th scope="col">State</th><th scope="col" class="number">Behind</th><th scope="col">Last answer</th></tr></thead>
      <tbody>${rows.map(
        (one) => html`<tr key=${one.id}>
          <td><${Link} class="row-link" to="/webhooks/${one.id}">${one.url}<//></td>
          <td>${one.types.join(", ") || "all"}</td>
          <td>${stateOf(one)}${one.failing_since && html` since <${Time} at=${one.failing_since} />`}</td>
          <td class="number">${one.lag.toLocaleString("en")}</td><td>${one.last_status}</td></tr>`,
      )}</tbody></table></div>`}
    ${isNew &&
    html`<${Dialog} title="New webhook" onClose=${() => setNew(false)}>
      <${Form} fields=${formOf(who.document, "NewWebhook")} submit="Create" onSubmit=${create} onCancel=${() => setNew(false)} /><//>`}
    ${made &&
    html`<${Dialog} title="The webhook is ready" onClose=${() => setMade(null)}>
      <p>The receiver checks deliveries with it. It is shown only now.</p>
      <${Secret} label="Secret" text=${made.secret} />
      <div class="buttons"><${Button} kind="main" onClick=${() => go(`/webhooks/${made.id}`)}>Done<//></div><//>`}`;
}

// Whether a webhook gets events of a type; it never gets those about webhooks.
const wants = ({ types }, type) => {
  const kind = type.split(".")[0];
  return kind !== "webhook" && (!types.length || types.includes(type) || types.includes(`${kind}.*`));
};

const EventLink = ({ who, position }) => {
  const text = `event ${position.toLocaleString("en")}`;
  return who.isAuditor ? html`<${Link} to="/audit/events/${position}">${text}<//>` : text;
};

// The event that cannot be delivered. The API has the position before it, and auditors can read which events follow.
function Failing({ who, one }) {
  const load = async (signal) => {
    const page = who.isAuditor && (await get("/audit/events", { after: one.position, limit: 1000 }, signal));
    return page && page.items.find(({ type }) => wants(one, type));
  };
  const { data: event } = useLoaded(load, [one.position]);
  return html`<dt>Failing at</dt><dd>${event
    ? html`<${EventLink} who=${who} position=${Number(event.id)} />, ${event.type}`
    : html`the first that it wants after <${EventLink} who=${who} position=${one.position} />`}, since <${Time} at=${one.failing_since} /></dd>`;
}

export function Webhook({ who, id }) {
  const path = `/webhooks/${encodeURIComponent(id)}`;
  const { data: one, error, reload } = useLoaded((signal) => get(path, {}, signal), []);
  return html`
    <${Heading} title="Webhook ${id}" note=${html`<${Link} to="/webhooks">Webhooks<//> / ${id}`} />
    <${Failure} error=${error} retry=${reload} />
    ${!one && !error && html`<${Loading} />`}
    ${one &&
    html`<dl class="facts">
        <dt>Address</dt><dd>${one.url}</dd>
        <dt>Events</dt><dd>${one.types.join(", ") || "all"}</dd>
        <dt>Description</dt><dd>${one.description || "—"}</dd>
        <dt>State</dt><dd>${stateOf(one)}</dd>
        <dt>Last answer</dt><dd>${one.last_status}</dd>
        ${one.failing_since && html`<${Failing} who=${who} one=${one} />`}
        <dt>Delivered up to</dt><dd><${EventLink} who=${who} position=${one.position} />, ${one.lag.toLocaleString("en")} behind</dd>
        <dt>Created</dt><dd><${Time} at=${one.created_at} /></dd>
      </dl>
      ${who.isOperator && html`<${Changes} who=${who} one=${one} path=${path} reload=${reload} />`}`}`;
}

function Changes({ who, one, path, reload }) {
  const [dialog, setDialog] = useState(null);
  const [secret, setSecret] = useState(null);
  const close = () => setDialog(null);
  const doing = useAction(async (method, place, body, text) => {
    const { data } = await request(method, `${path}${place}`, { body });
    if (data?.secret && place === "/rotate-secret") setSecret(data.secret);
    say(typeof text === "function" ? text(data) : text);
    close();
    if (method === "DELETE") go("/webhooks");
    else reload();
  });
  const edit = async (body) => {
    await request("PATCH", path, { body });
    close();
    reload();
  };
  const tested = (data) =>
    data.result === "delivered" ? `The receiver answered ${data.status}.` : `The test failed: ${data.reason || `the receiver answered ${data.status}`}.`;
  const fields = formOf(who.document, "WebhookPatch").filter((field) => field.name !== "disabled");
  return html`
    <div class="buttons">
      <${Button} busy=${doing.busy} onClick=${() => doing.run("POST", "/test", undefined, tested)}>Send a test<//>
      <${Button} onClick=${() => setDialog("edit")}>Edit<//>
      <${Button} onClick=${() => setDialog("replay")}>Deliver again<//>
      <${Button} onClick=${() => doing.run("PATCH", "", { disabled: !one.disabled }, one.disabled ? "The webhook is enabled." : "The webhook is disabled.")}>${one.disabled ? "Enable" : "Disable"}<//>
      <${Button} onClick=${() => doing.run("POST", "/rotate-secret", undefined, "There is a new secret.")}>New secret<//>
      <${Button} onClick=${() => setDialog("delete")}>Delete…<//>
    </div>
    <${Failure} error=${doing.error} />
    ${secret && html`<p>For a while, deliveries are signed with both secrets.</p><${Secret} label="New secret" text=${secret} />`}
    ${dialog === "edit" && html`<${Dialog} title="Edit the webhook" onClose=${close}>
      <${Form} fields=${fields} initial=${one} submit="Save" onSubmit=${edit} onCancel=${close} /><//>`}
    ${dialog === "replay" && html`<${Dialog} title="Deliver events again" onClose=${close}>
      <${Form} fields=${formOf(who.document, "Replay")} submit="Deliver again" onCancel=${close}
        onSubmit=${(body) => request("POST", `${path}/replay`, { body }).then(() => (close(), reload()))} /><//>`}
    ${dialog === "delete" && html`<${Dialog} title="Delete the webhook" onClose=${close}>
      <p>Nothing more is delivered to ${one.url}. A new webhook would have another secret.</p>
      <div class="buttons"><${Button} kind="danger" busy=${doing.busy} onClick=${() => doing.run("DELETE", "", undefined, "The webhook is deleted.")}>Delete<//><${Button} onClick=${close}>Cancel<//></div><//>`}`;
}
