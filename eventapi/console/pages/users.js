// Users, for operators; auditors may look.

import { html, useEffect, useState } from "../vendor/preact.js";
import { get, request } from "../api.js";
import { formOf } from "../openapi.js";
import { Button, Dialog, Empty, Failure, Heading, Loading, Secret, Time, say, useAction } from "../parts/basics.js";
import { Search } from "../parts/filters.js";
import { Form } from "../parts/form.js";
import { Pager } from "../parts/pager.js";
import { Link, go } from "../router.js";
import { useLoaded } from "../store.js";

const BUILT_IN = ["auditor", "operator"];

export function Users({ who, query }) {
  const [isNew, setNew] = useState(false);
  const { q, after } = query;
  const { data, error, loading, reload } = useLoaded((signal) => get("/users", { q, after, limit: 50 }, signal), [q, after]);
  const create = async (body) => {
    const { data: user } = await request("POST", "/users", { body });
    say(body.password ? `${user.username} can sign in now.` : `${user.username} gets a mail with a link to set a password.`);
    go(`/users/${user.id}`);
  };
  return html`
    <${Heading} title="Users" note="All accounts of this server.">
      ${who.isOperator && html`<${Button} kind="main" onClick=${() => setNew(true)}>New user<//>`}
    <//>
    <div class="filters"><${Search} q=${q} label="Search users" /></div>
    <${Failure} error=${error} retry=${reload} />
    ${!data && !error && html`<${Loading} />`}
    ${data && !data.items.length && html`<${Empty} title="No users match." />`}
    ${data?.items.length > 0 && html`<${Table} rows=${data.items} busy=${loading} />`}
    <${Pager} after=${after} page=${data} />
    ${isNew &&
    html`<${Dialog} title="New user" onClose=${() => setNew(false)}>
      <p>Without a password, the user gets a mail with a link that sets one.</p>
      <${Form} fields=${formOf(who.document, "NewUser")} submit="Create" onSubmit=${create} onCancel=${() => setNew(false)} />
    <//>`}`;
}

const Table = ({ rows, busy }) =>
  html`<div class="scroll" tabindex="0" role="region" aria-label="Users"><table aria-busy=${busy}>
    <thead><tr><th scope="col">Username</th><th scope="col">Name</th><th scope="col">Email</th><th scope="col">Roles</th><th scope="col">Status</th><th scope="col">Since</th></tr></thead>
    <tbody>${rows.map(
      (one) => html`<tr key=${one.id}>
        <td><${Link} class="row-link" to="/users/${one.id}">${one.username}<//></td>
        <td>${one.full_name || html`<span class="none">—</span>`}</td>
        <td>${one.email}</td>
        <td>${one.roles.join(", ") || html`<span class="none">—</span>`}</td>
        <td>${one.disabled ? "disabled" : "enabled"}</td>
        <td><${Time} at=${one.created_at} /></td>
      </tr>`,
    )}</tbody></table></div>`;

export function User({ who, id }) {
  const path = `/users/${encodeURIComponent(id)}`;
  const { data: user, error, reload } = useLoaded((signal) => get(path, {}, signal), []);
  const title = user ? user.username : `User ${id}`;
  return html`
    <${Heading} title=${title} note=${html`<${Link} to="/users">Users<//> / ${id}`} />
    <${Failure} error=${error} retry=${reload} />
    ${!user && !error && html`<${Loading} />`}
    ${user &&
    html`<div class="columns">
      <section aria-label="Account"><dl class="facts">
        <dt>Email</dt><dd>${user.email} <span class="note">${user.email_verified ? "verified" : "not verified"}</span></dd>
        <dt>Full name</dt><dd>${user.full_name || "—"}</dd>
        <dt>Status</dt><dd>${user.disabled ? "disabled" : "enabled"}</dd>
        <dt>Roles</dt><dd>${user.roles.join(", ") || "—"}</dd>
        <dt>Since</dt><dd><${Time} at=${user.created_at} /></dd>
      </dl></section>
      ${who.isOperator && html`<${Rights} user=${user} path=${path} reload=${reload} />`}
    </div>`}`;
}

function Rights({ user, path, reload }) {
  const [roles, setRoles] = useState(user.roles);
  const [other, setOther] = useState("");
  const [dialog, setDialog] = useState(null);
  const [link, setLink] = useState(null);
  useEffect(() => setRoles(user.roles), [user]);
  const patch = async (body, text) => {
    try {
      await request("PATCH", path, { body, headers: { "If-Match": `"${user.version}"` } });
      say(text);
    } catch (problem) {
      if (problem.status !== 412) throw problem;
      say("This user was changed a moment ago. This is how it is now: try again.");
    }
    setOther("");
    reload();
  };
  const save = useAction(() => patch({ roles: [...roles, ...(other.trim() ? [other.trim()] : [])] }, `The roles of ${user.username} are saved.`));
  const toggle = useAction(() =>
    patch({ disabled: !user.disabled }, user.disabled ? `${user.username} can sign in again.` : `${user.username} is disabled; every session has ended.`),
  );
  const reset = useAction(async () => {
    setLink((await request("POST", `${path}/password-reset`, { body: { link: true } })).data.link);
    reload();
  });
  const mail = useAction(async () => {
    await request("POST", `${path}/password-reset`, { body: {} });
    say(`A mail with a link is on its way to ${user.email}.`);
    reload();
  });
  const turn = (role, isOn) => setRoles(isOn ? [...roles, role] : roles.filter((one) => one !== role));
  return html`<section aria-label="Rights">
    <fieldset class="field choices"><legend>Roles</legend>
      ${[...new Set([...BUILT_IN, ...user.roles])].map(
        (role) => html`<label key=${role}><input type="checkbox" checked=${roles.includes(role)} onInput=${(event) => turn(role, event.target.checked)} />${role}</label>`,
      )}
      <label class="stacked">Another role <input value=${other} onInput=${(event) => setOther(event.target.value)} autocomplete="off" /></label>
      <div><${Button} busy=${save.busy} onClick=${save.run}>Save the roles<//></div>
      <${Failure} error=${save.error} />
    </fieldset>
    <h2>Access</h2>
    <div class="buttons">
      <${Button} busy=${toggle.busy} onClick=${toggle.run}>${user.disabled ? "Enable" : "Disable"}<//>
      <${Button} busy=${reset.busy} onClick=${reset.run}>Make a link to reset the password<//>
      <${Button} busy=${mail.busy} onClick=${mail.run}>Mail the link<//>
      <${Button} onClick=${() => setDialog("erase")}>Erase…<//>
    </div>
    <${Failure} error=${toggle.error || reset.error || mail.error} />
    ${link && html`<p>Give this link to ${user.username}. It works once, for an hour.</p><${Secret} label="Link" text=${link} />`}
    ${dialog && html`<${EraseDialog} user=${user} path=${path} onClose=${() => setDialog(null)} />`}
  </section>`;
}

function EraseDialog({ user, path, onClose }) {
  const { run, busy, error } = useAction(async () => {
    await request("DELETE", path);
    say(`${user.username} is erased. The log keeps its length, and still verifies.`);
    go("/users");
  });
  const [text, setText] = useState("");
  return html`<${Dialog} title="Erase ${user.username}" onClose=${onClose}>
    <p>The key of everything that ${user.username} wrote is destroyed. This is the one thing that cannot be undone.</p>
    <div class="field"><label for="erase">Type the username to go on</label>
      <input id="erase" value=${text} autocomplete="off" onInput=${(event) => setText(event.target.value)} /></div>
    <${Failure} error=${error} />
    <div class="buttons"><${Button} kind="danger" disabled=${text !== user.username || busy} onClick=${run}>Erase for ever<//><${Button} onClick=${onClose}>Cancel<//></div>
  <//>`;
}
