// Forms that write a resource. A change names the version that it is made from, so that no other change is lost.

import { html, useRef, useState } from "../vendor/preact.js";
import { get, request } from "../api.js";
import { stringify } from "../json.js";
import { label, titleOf } from "../openapi.js";
import { Button, Dialog, say } from "./basics.js";
import { Form } from "./form.js";
import { Value } from "./values.js";

// The same key for the same body: a create that is sent twice takes effect once.
function useIdempotencyKey() {
  const last = useRef({});
  return (body) => {
    const text = stringify(body);
    if (last.current.text !== text) {
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      last.current = { text, key: Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("") };
    }
    return { "Idempotency-Key": last.current.key };
  };
}

export function CreateDialog({ resource, onClose, onDone }) {
  const keyOf = useIdempotencyKey();
  const create = async (body) => {
    const { data } = await request("POST", `/${resource.collection}`, { body, headers: keyOf(body) });
    say(`${titleOf(resource, data)} is created.`);
    onDone(data);
  };
  return html`<${Dialog} title="New ${resource.noun}" onClose=${onClose}>
    <${Form} fields=${resource.form} submit="Create" onSubmit=${create} onCancel=${onClose} />
  <//>`;
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

// The method and the body of a change. A merge patch would keep the members that were removed from an object: PUT does not.
function changeOf(resource, base, values) {
  if (!Object.values(values).some(isObject)) return ["PATCH", values];
  return ["PUT", { ...Object.fromEntries(resource.form.map(({ name }) => [name, base[name]])), ...values }];
}

export function EditDialog({ resource, entity, onClose, onDone }) {
  const [base, setBase] = useState(entity);
  const [conflict, setConflict] = useState(null);
  const path = `/${resource.collection}/${entity.id}`;
  const save = async (values, onto = base) => {
    if (!Object.keys(values).length) return onClose();
    const [method, body] = changeOf(resource, onto, values);
    try {
      const { data } = await request(method, path, { body, headers: { "If-Match": `"${onto.version}"` } });
      say(`${titleOf(resource, data)} is saved.`);
      return onDone(data);
    } catch (problem) {
      if (problem.status !== 412) throw problem;
      return setConflict({ values, now: await get(path) });
    }
  };
  if (conflict) {
    const { values, now } = conflict;
    const changed = resource.form.filter((one) => stringify(now[one.name]) !== stringify(base[one.name]));
    return html`<${Dialog} title="This was changed meanwhile" onClose=${onClose}>
      <p>While you were editing, this was changed:</p>
      <dl class="facts">
        ${changed.map((one) => html`<dt>${one.label}</dt><dd><${Value} field=${one} value=${now[one.name]} /></dd>`)}
      </dl>
      <div class="buttons">
        <${Button} kind="main" onClick=${() => (setBase(now), setConflict(null))}>Edit the new version<//>
        <${Button} onClick=${() => (setConflict(null), setBase(now), save(values, now).catch((error) => say(error.message)))}>
          Save mine over it<//>
      </div>
    <//>`;
  }
  return html`<${Dialog} title="Edit ${titleOf(resource, base)}" onClose=${onClose}>
    <${Form} key=${base.version} fields=${resource.form} initial=${base} submit="Save" onSubmit=${(values) => save(values)} onCancel=${onClose} />
  <//>`;
}

export function ActionDialog({ resource, entity, action, onClose, onDone }) {
  const keyOf = useIdempotencyKey();
  const act = async (body) => {
    const path = `/${resource.collection}/${entity.id}/${action.name}`;
    const headers = { ...keyOf(body), "If-Match": `"${entity.version}"` };
    try {
      onDone((await request("POST", path, { body, headers })).data);
      say(`${action.label}: done.`);
    } catch (problem) {
      if (problem.status !== 412) throw problem;
      say("It was changed a moment ago, so nothing was done. This is how it is now.");
      onDone(null);
    }
  };
  return html`<${Dialog} title=${action.label} onClose=${onClose}>
    <p>${action.summary}.</p>
    <${Form} fields=${action.form} submit=${action.label} onSubmit=${act} onCancel=${onClose} />
  <//>`;
}

// Delete, and offer to undo it: a deletion is an event like any other.
export async function remove(resource, entity, onRestored) {
  const path = `/${resource.collection}/${entity.id}`;
  await request("DELETE", path, { headers: { "If-Match": `"${entity.version}"` } });
  const undo = async () => {
    await request("POST", `${path}/restore`, { body: {} });
    say(`${titleOf(resource, entity)} is back.`);
    onRestored();
  };
  say(`${label(resource.noun)} ${titleOf(resource, entity)} is deleted.`, { label: "Undo", run: undo });
}
