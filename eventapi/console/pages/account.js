// The user's own account: profile, password, second factor, sessions, keys, and what happened.

import { html, useState } from "../vendor/preact.js";
import { get, request } from "../api.js";
import { loadMe } from "../me.js";
import { formOf } from "../openapi.js";
import { Button, Dialog, Empty, Failure, Heading, Loading, Secret, Time, say, useAction } from "../parts/basics.js";
import { Form } from "../parts/form.js";
import { forgetTokens } from "../session.js";
import { useLoaded } from "../store.js";

export function Account({ who }) {
  const [dialog, setDialog] = useState(null);
  const { user, document } = who;
  const close = () => setDialog(null);
  const save = async (body) => {
    await request("PATCH", "/auth/me", { body });
    await loadMe();
    say(body.email ? "The new address counts once its mail is confirmed." : "Your profile is saved.");
    close();
  };
  const changePassword = async (body) => {
    await request("POST", "/auth/password", { body });
    say("Your password is changed, and every other session has ended.");
    close();
  };
  return html`
    <${Heading} title="Account" note=${user.username}>
      ${who.mayChange && html`<${Button} onClick=${() => setDialog("profile")}>Edit profile<//>
        <${Button} onClick=${() => setDialog("password")}>Change password<//>
        <${Button} onClick=${() => setDialog("factor")}>Second factor<//>
        <${Button} onClick=${() => setDialog("erase")}>Erase…<//>`}
    <//>
    <dl class="facts">
      <dt>Email</dt><dd>${user.email} <span class="note">${user.email_verified ? "verified" : "not verified"}</span></dd>
      <dt>Full name</dt><dd>${user.full_name || "—"}</dd>
      <dt>Roles</dt><dd>${user.roles.join(", ") || "—"}</dd>
      <dt>Since</dt><dd><${Time} at=${user.created_at} /></dd>
    </dl>
    <${Keys} who=${who} />
    <${Sessions} who=${who} />
    <${Events} />
    ${dialog === "profile" && html`<${Dialog} title="Edit profile" onClose=${close}>
      <${Form} fields=${formOf(document, "ProfilePatch")} initial=${user} submit="Save" onSubmit=${save} onCancel=${close} /><//>`}
    ${dialog === "password" && html`<${Dialog} title="Change password" onClose=${close}>
      <${Form} fields=${formOf(document, "PasswordChange")} submit="Change it" onSubmit=${changePassword} onCancel=${close} /><//>`}
    ${dialog === "factor" && html`<${SecondFactor} onClose=${close} />`}
    ${dialog === "erase" && html`<${Erase} document=${document} onClose=${close} />`}`;
}

function Erase({ document, onClose }) {
  const erase = async (body) => {
    await request("DELETE", "/auth/me", { body });
    forgetTokens();
    say("Your account is erased.");
  };
  return html`<${Dialog} title="Erase your account" onClose=${onClose}>
    <p>The key of everything that you wrote is destroyed. It can never be read again, and this cannot be undone.</p>
    <${Form} fields=${formOf(document, "Confirmation")} submit="Erase for ever" onSubmit=${erase} onCancel=${onClose} /><//>`;
}

const code = { name: "code", label: "Code", kind: "text", schema: {}, isRequired: true, description: "The six digits that the app shows." };
const password = { name: "password", label: "Password", kind: "text", schema: {}, isRequired: true, description: "" };

function SecondFactor({ onClose }) {
  const [setup, setSetup] = useState(null);
  const [codes, setCodes] = useState(null);
  const [isRemoving, setRemoving] = useState(false);
  const start = useAction(async () => setSetup((await request("POST", "/auth/totp")).data));
  const confirm = async (body) => setCodes((await request("POST", "/auth/totp/confirm", { body })).data.recovery_codes);
  const remove = async (body) => {
    await request("DELETE", "/auth/totp", { body });
    say("The second factor is removed.");
    onClose();
  };
  return html`<${Dialog} title="Second factor" onClose=${onClose}>
    ${codes
      ? html`<p>Keep these codes where only you find them. Each works once in place of the app.</p>
          <pre>${codes.join("\n")}</pre><div class="buttons"><${Button} kind="main" onClick=${onClose}>I have kept them<//></div>`
      : setup
        ? html`<p>Add this secret to an authenticator app, then enter the code that it shows.</p>
            <${Secret} label="Secret" text=${setup.secret} />
            <p><a href=${setup.uri}>Open it in an app on this device</a></p>
            <${Form} fields=${[code]} submit="Turn it on" onSubmit=${confirm} onCancel=${onClose} />`
        : isRemoving
          ? html`<${Form} fields=${[password]} submit="Remove it" onSubmit=${remove} onCancel=${onClose} />`
          : html`<p>With a second factor, signing in needs your password and a code of an authenticator app.</p>
              <${Failure} error=${start.error} />
              <div class="buttons"><${Button} kind="main" busy=${start.busy} onClick=${start.run}>Set it up<//>
                <${Button} onClick=${() => setRemoving(true)}>Remove it<//></div>`}
  <//>`;
}

function Keys({ who }) {
  const [isNew, setNew] = useState(false);
  const [made, setMade] = useState(null);
  const { data, error, reload } = useLoaded((signal) => get("/auth/keys", {}, signal), []);
  const revoke = useAction(async (key) => {
    await request("DELETE", `/auth/keys/${key.id}`);
    say(`The key “${key.name}” does not work any more.`);
    reload();
  });
  const create = async (body) => {
    setMade((await request("POST", "/auth/keys", { body })).data);
    setNew(false);
    reload();
  };
  return html`<section aria-labelledby="keys">
    <header class="heading"><h2 id="keys">API keys</h2><div class="buttons">${who.mayChange && html`<${Button} onClick=${() => setNew(true)}>New key<//>`}</div></header>
    <${Failure} error=${error || revoke.error} retry=${reload} />
    ${data && !data.length && html`<${Empty} title="You have no API keys."><p>A program sends one instead of your password.</p><//>`}
    ${data?.length > 0 &&
    html`<div class="scroll" tabindex="0" role="region" aria-label="API keys"><table>
      <thead><tr><th scope="col">Name</th><th scope="col">May</th><th scope="col">Created</th><th scope="col">Expires</th><th scope="col">Last used</th><th scope="col"><span class="hidden">Actions</span></th></tr></thead>
      <tbody>${data.map(
        (one) => html`<tr key=${one.id}><td>${one.name}</td><td>${one.scopes.join(", ")}</td><td><${Time} at=${one.created_at} /></td>
          <td><${Time} at=${one.expires_at} /></td><td><${Time} at=${one.last_used_at} /></td>
          <td>${who.mayChange && html`<${Button} aria-label="Revoke ${one.name}" onClick=${() => revoke.run(one)}>Revoke<//>`}</td></tr>`,
      )}</tbody></table></div>`}
    ${isNew && html`<${Dialog} title="New key" onClose=${() => setNew(false)}>
      <${Form} fields=${formOf(who.document, "KeyRequest")} submit="Create" onSubmit=${create} onCancel=${() => setNew(false)} /><//>`}
    ${made && html`<${Dialog} title="${made.name} is ready" onClose=${() => setMade(null)}>
      <p>It is shown only now. Keep it as you keep a password.</p><${Secret} label="Key" text=${made.key} />
      <div class="buttons"><${Button} kind="main" onClick=${() => setMade(null)}>Done<//></div><//>`}
  </section>`;
}

function Sessions({ who }) {
  const { data, error, reload } = useLoaded((signal) => get("/auth/sessions", {}, signal), []);
  const end = useAction(async (one) => {
    await request("DELETE", `/auth/sessions/${one.id}`);
    say("The session has ended.");
    reload();
  });
  return html`<section aria-labelledby="sessions"><h2 id="sessions">Where you are signed in</h2>
    <${Failure} error=${error || end.error} retry=${reload} />
    ${!data && !error && html`<${Loading} />`}
    ${data && html`<div class="scroll" tabindex="0" role="region" aria-label="Sessions"><table>
      <thead><tr><th scope="col">Program</th><th scope="col">Address</th><th scope="col">Since</th><th scope="col"><span class="hidden">Actions</span></th></tr></thead>
      <tbody>${data.map(
        (one) => html`<tr key=${one.id}><td class="wide">${one.user_agent || "not known"}</td><td>${one.address || "not known"}</td><td><${Time} at=${one.started_at} /></td>
          <td>${one.current ? "this session" : who.mayChange && html`<${Button} aria-label="End the session of ${one.address}" onClick=${() => end.run(one)}>End<//>`}</td></tr>`,
      )}</tbody></table></div>`}
  </section>`;
}

function Events() {
  const { data, error, reload } = useLoaded((signal) => get("/auth/me/events", { limit: 30 }, signal), []);
  return html`<section aria-labelledby="events"><h2 id="events">What happened on your account</h2>
    <${Failure} error=${error} retry=${reload} />
    ${data && html`<div class="scroll" tabindex="0" role="region" aria-label="Events of your account"><table>
      <thead><tr><th scope="col">Time</th><th scope="col">What</th><th scope="col">Address</th><th scope="col">Program</th></tr></thead>
      <tbody>${data.items.map(
        (one) => html`<tr key=${one.position}><td><${Time} at=${one.time} /></td><td>${one.type}${one.reason ? ` (${one.reason})` : ""}</td>
          <td>${one.address || "—"}</td><td class="wide">${one.user_agent || "—"}</td></tr>`,
      )}</tbody></table></div>`}
  </section>`;
}
