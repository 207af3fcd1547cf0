// The pages of links in mails: set a new password, and confirm an address.

import { html, useState } from "../vendor/preact.js";
import { request } from "../api.js";
import { Failure, Heading, Loading, useAction } from "../parts/basics.js";
import { root } from "../session.js";
import { useLoaded } from "../store.js";

// The token leaves the address bar at once, so that it is in no history and on no picture of the screen.
const token = new URLSearchParams(location.search).get("token") || "";
if (token) history.replaceState(null, "", location.pathname);

const ToConsole = () => html`<p class="below"><a href="${root.pathname}console">Go to the console</a></p>`;

function ResetPassword() {
  const [isDone, setDone] = useState(false);
  const { run, busy, error } = useAction(async (event) => {
    const body = { token, new_password: new FormData(event.target).get("password") };
    await request("POST", "/auth/password/reset", { body });
    setDone(true);
  });
  const send = (event) => (event.preventDefault(), run(event));
  if (isDone) {
    return html`<main class="card"><${Heading} title="Your password is set" key="done" />
      <p>Every session has ended. Sign in with the new password.</p><${ToConsole} /></main>`;
  }
  return html`<main class="card"><${Heading} title="Set a new password" key="form" />
    <form onSubmit=${send} novalidate>
      <div class="field"><label for="password">New password</label>
        <input id="password" name="password" type="password" autocomplete="new-password" aria-describedby="hint" />
        <small id="hint">At least 8 characters.</small></div>
      <${Failure} error=${error} />
      <div class="buttons"><button class="main" disabled=${busy}>Set the password</button></div>
    </form></main>`;
}

function VerifyEmail() {
  const { error, loading } = useLoaded(() => request("POST", "/auth/email/verify", { body: { token } }), []);
  const title = error ? "The link does not work" : loading ? "Confirming…" : "Your address is confirmed";
  return html`<main class="card"><${Heading} title=${title} />
    ${loading && !error && html`<${Loading} />`}<${Failure} error=${error} /><${ToConsole} /></main>`;
}

export const MAILED = { "reset-password": ResetPassword, "verify-email": VerifyEmail };
