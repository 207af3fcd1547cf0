// Signing in: username and password, then a code if the account has a second factor. Also: a new account, and the way
// back to a forgotten password.

import { html, useState } from "../vendor/preact.js";
import { request, secondFactor, signIn } from "../api.js";
import { Button, Failure, Heading, say, useAction } from "../parts/basics.js";
import { hasExpired, keepTokens } from "../session.js";
import { useStore } from "../store.js";

export function SignIn() {
  const [mode, setMode] = useState("sign-in");
  const [challenge, setChallenge] = useState(null);
  if (challenge) return html`<${Code} challenge=${challenge} back=${() => setChallenge(null)} />`;
  if (mode === "register") return html`<${Register} back=${() => setMode("sign-in")} />`;
  if (mode === "forgot") return html`<${Forgot} back=${() => setMode("sign-in")} />`;
  return html`<${Credentials} onChallenge=${setChallenge} setMode=${setMode} />`;
}

const textOf = (event, name) => new FormData(event.target).get(name);

function Card({ title, error, busy, submit, onSubmit, children, below }) {
  const send = (event) => {
    event.preventDefault();
    onSubmit(event);
  };
  return html`<main class="card" id="main">
    <${Heading} title=${title} />
    <form onSubmit=${send} novalidate>
      ${children}
      <${Failure} error=${error} />
      <div class="buttons"><button class="main" aria-busy=${busy} disabled=${busy}>${submit}</button></div>
    </form>
    <p class="below">${below}</p>
  </main>`;
}

const Input = ({ name, label, ...rest }) =>
  html`<div class="field"><label for=${name}>${label}</label><input id=${name} name=${name} required ...${rest} /></div>`;

function Credentials({ onChallenge, setMode }) {
  const isExpired = useStore(hasExpired);
  const { run, busy, error } = useAction(async (event) => {
    try {
      keepTokens((await signIn(textOf(event, "username"), textOf(event, "password"))).data);
    } catch (problem) {
      if (problem.slug !== "second-factor-required") throw problem;
      onChallenge(problem.content.challenge);
    }
  });
  return html`<${Card} title="Sign in" submit="Sign in" busy=${busy} error=${error} onSubmit=${run}
    below=${html`<${Button} kind="link" onClick=${() => setMode("register")}>Create an account<//>
      <${Button} kind="link" onClick=${() => setMode("forgot")}>Forgot your password?<//>`}>
    ${isExpired && html`<p role="alert">Your session has ended. Sign in to go on where you were.</p>`}
    <${Input} name="username" label="Username" autocomplete="username" autocapitalize="none" spellcheck="false" />
    <${Input} name="password" label="Password" type="password" autocomplete="current-password" />
  <//>`;
}

function Code({ challenge, back }) {
  const { run, busy, error } = useAction(async (event) => {
    keepTokens((await secondFactor(challenge, textOf(event, "code").trim())).data);
  });
  return html`<${Card} title="Second factor" submit="Sign in" busy=${busy} error=${error} onSubmit=${run}
    below=${html`<${Button} kind="link" onClick=${back}>Back<//>`}>
    <p>Enter the code of your authenticator app, or one of your recovery codes.</p>
    <${Input} name="code" label="Code" autocomplete="one-time-code" inputmode="text" spellcheck="false" />
  <//>`;
}

function Register({ back }) {
  const { run, busy, error } = useAction(async (event) => {
    const [username, password] = [textOf(event, "username"), textOf(event, "password")];
    await request("POST", "/auth/register", { body: { username, email: textOf(event, "email"), password } });
    keepTokens((await signIn(username, password)).data);
  });
  return html`<${Card} title="Create an account" submit="Create the account" busy=${busy} error=${error} onSubmit=${run}
    below=${html`<${Button} kind="link" onClick=${back}>Sign in instead<//>`}>
    <${Input} name="username" label="Username" autocomplete="username" autocapitalize="none" spellcheck="false" />
    <${Input} name="email" label="Email" type="email" autocomplete="email" />
    <${Input} name="password" label="Password" type="password" autocomplete="new-password" />
  <//>`;
}

function Forgot({ back }) {
  const { run, busy, error } = useAction(async (event) => {
    await request("POST", "/auth/password/forgot", { body: { email: textOf(event, "email") } });
    say("If the address belongs to an account, a mail with a link is on its way.");
    back();
  });
  return html`<${Card} title="Forgot your password?" submit="Send the link" busy=${busy} error=${error} onSubmit=${run}
    below=${html`<${Button} kind="link" onClick=${back}>Back<//>`}>
    <p>A link to set a new password is mailed to the address of your account.</p>
    <${Input} name="email" label="Email" type="email" autocomplete="email" />
  <//>`;
}
