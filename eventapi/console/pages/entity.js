// One thing: what it is, or was at a moment, and everything that happened to it.

import { html, useState } from "../vendor/preact.js";
import { get, request } from "../api.js";
import { moments } from "../me.js";
import { label, titleOf } from "../openapi.js";
import { Button, Empty, Failure, Heading, Loading, Time, say, useAction } from "../parts/basics.js";
import { ActionDialog, EditDialog, remove } from "../parts/edit.js";
import { Name } from "../parts/names.js";
import { ShareDialog } from "../parts/share.js";
import { PastNote } from "../parts/time-bar.js";
import { Value } from "../parts/values.js";
import { Link } from "../router.js";
import { useLoaded } from "../store.js";
import { isLater, isPosition } from "../times.js";

const orNull = (promise) => promise.catch((error) => (error.status === 404 ? null : Promise.reject(error)));

export function Entity({ who, resource, id, query }) {
  const { at } = query;
  const path = `/${resource.collection}/${encodeURIComponent(id)}`;
  const load = async (signal) => {
    const read = (moment) => orNull(request("GET", path, { query: { as_of: moment }, signal }));
    const [found, entries] = await Promise.all([read(at), orNull(get(`${path}/history`, {}, signal))]);
    const history = entries || [];
    history.forEach((one) => moments.know(one.position, one.time));
    // Of a deleted thing, its last version says what the person may do.
    const known = found || (history.length && !at && (await read(history[history.length - 1].position - 1)));
    return { entity: found?.data, history, mayWrite: Boolean(known && known.may("PATCH")) };
  };
  const { data, error, reload } = useLoaded(load, [at]);
  if (error) return html`<${Heading} title="${label(resource.noun)} ${id}" /><${Failure} error=${error} retry=${reload} />`;
  if (!data) return html`<${Heading} title="${label(resource.noun)} ${id}" /><${Loading} />`;
  const { entity, history, mayWrite } = data;
  if (!entity && !history.length) {
    return html`<${Heading} title="There is no such ${resource.noun}" />
      <${Empty} title="It does not exist, or it is not yours."><${Link} to="/${resource.collection}">All ${resource.title.toLowerCase()}<//><//>`;
  }
  const title = entity ? titleOf(resource, entity) : `${label(resource.noun)} ${id}`;
  return html`
    <${Heading} title=${title} note=${html`<${Link} to="/${resource.collection}">${resource.title}<//> / ${id}`}>
      ${entity && !at && html`<${Changes} resource=${resource} entity=${entity} reload=${reload} who=${who} mayWrite=${mayWrite} />`}
    <//>
    <${PastNote} at=${at} />
    <div class="columns">
      <section aria-label="Content">
        ${entity
          ? html`<${Facts} resource=${resource} entity=${entity} />
              ${at && mayWrite && html`<${BringBack} path=${path} at=${at} reload=${reload} noun=${resource.noun} />`}`
          : html`<${Gone} path=${path} at=${at} history=${history} reload=${reload} noun=${resource.noun} mayWrite=${mayWrite} />`}
      </section>
      <${History} who=${who} resource=${resource} path=${path} entries=${history} at=${at} />
    </div>`;
}

const Facts = ({ resource, entity }) =>
  html`<dl class="facts">
    ${resource.fields.map(
      (field) => html`<dt key="t${field.name}">${field.label}</dt>
        <dd key="d${field.name}" class=${field.kind}><${Value} field=${field} value=${entity[field.name]} /></dd>`,
    )}
  </dl>`;

function Changes({ resource, entity, reload, who, mayWrite }) {
  const [dialog, setDialog] = useState(null);
  const { run, busy } = useAction(async () => {
    try {
      await remove(resource, entity, reload);
    } catch (problem) {
      if (problem.status !== 412) say(problem.message);
      else say("It was changed a moment ago. Look at it again before you delete it.");
    }
    reload();
  });
  const close = () => setDialog(null);
  const done = () => (close(), reload());
  const shared = { resource, entity, onClose: close, onDone: done };
  return html`
    ${mayWrite && resource.actions.map((one) => html`<${Button} key=${one.name} title=${one.summary} onClick=${() => setDialog(one)}>${one.label}<//>`)}
    ${resource.canShare && entity.owner === who.user.username && html`<${Button} onClick=${() => setDialog("share")}>Share<//>`}
    ${mayWrite && html`<${Button} onClick=${() => setDialog("edit")}>Edit<//>`}
    ${mayWrite && html`<${Button} busy=${busy} onClick=${run}>Delete<//>`}
    ${dialog === "edit" && html`<${EditDialog} ...${shared} />`}
    ${dialog === "share" && html`<${ShareDialog} ...${shared} />`}
    ${dialog?.name && html`<${ActionDialog} ...${shared} action=${dialog} />`}`;
}

function Gone({ path, at, history, reload, noun, mayWrite }) {
  const { run, busy, error } = useAction(async () => {
    await request("POST", `${path}/restore`, { body: {} });
    say(`The ${noun} is back.`);
    reload();
  });
  if (at) return html`<${Empty} title="It did not exist at that moment." />`;
  const last = history[history.length - 1];
  return html`<${Empty} title="This ${noun} is deleted.">
    <p>Since <${Time} at=${last.time} />.</p>
    <${Failure} error=${error} />
    ${mayWrite && html`<${Button} kind="main" busy=${busy} onClick=${run}>Restore it<//>`}<//>`;
}

function BringBack({ path, at, reload, noun }) {
  const { run, busy, error } = useAction(async () => {
    await request("POST", `${path}/restore`, { body: { as_of: isPosition(at) ? Number(at) : at } });
    say(`The ${noun} is again as it was at that moment.`);
    reload();
  });
  return html`<${Failure} error=${error} />
    <p><${Button} busy=${busy} onClick=${run}>Bring this version back<//></p>`;
}

function History({ who, resource, path, entries, at }) {
  const values = {};
  const rows = entries.map((one) => {
    const changes = Object.entries(one.changes || {}).map(([name, value]) => {
      const change = { field: resource.fields.find((found) => found.name === name) || { name, label: label(name) }, before: values[name], value };
      values[name] = value;
      return change;
    });
    return { ...one, changes, verb: one.type.split(".")[1] };
  });
  return html`<section aria-labelledby="history">
    <h2 id="history">History</h2>
    <ol class="history">
      ${rows.reverse().map((one) => {
        return html`<li key=${one.position} class=${at && isLater(one, at) ? "later" : ""}>
          <p><strong>${label(one.verb)}</strong> <span class="note"><${Time} at=${one.time} />, by <${Name} who=${who} subject=${one.actor} /></span></p>
          ${one.reason && html`<p class="reason">“${one.reason}”</p>`}
          ${one.verb !== "created" &&
          html`<ul>${one.changes.map(
            (change) => html`<li key=${change.field.name}>${change.field.label}: <${Value} field=${change.field} value=${change.before} /> →${" "}
              <${Value} field=${change.field} value=${change.value} /></li>`,
          )}</ul>`}
          <p class="note">
            <${Link} to=${path} query=${{ at: one.position }}>See it then<//>
            ${who.isAuditor && html` · <${Link} to="/audit/events/${one.position}" query=${{ at: undefined }}>Event ${one.position}<//>`}
          </p>
        </li>`;
      })}
    </ol>
  </section>`;
}
