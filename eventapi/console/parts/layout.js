// What surrounds every page: the menu, the light, the way through time, and the user.

import { html, useEffect, useState } from "../vendor/preact.js";
import { has } from "../openapi.js";
import { light } from "../light.js";
import { me, signOut } from "../me.js";
import { Link, route } from "../router.js";
import { useStore } from "../store.js";
import { Button, Messages, say, useAction } from "./basics.js";
import { TimeBar } from "./time-bar.js";

export function Layout({ children }) {
  const who = useStore(me);
  const { parts, query } = useStore(route);
  const [isOpen, setOpen] = useState(false);
  const [isTravelling, setTravelling] = useState(Boolean(query.at));
  useEffect(() => setOpen(false), [parts.join("/")]);
  useEffect(() => query.at && setTravelling(true), [query.at]);
  const { run, busy } = useAction(() => signOut().catch((problem) => say(problem.message)));
  return html`<div class="app ${query.at ? "past" : ""}">
    <a class="skip" href="#main">Skip to the page</a>
    <header class="top">
      <${Button} kind="plain menu-button" aria-expanded=${isOpen} aria-controls="menu"
        onClick=${() => setOpen(!isOpen)}>Menu<//>
      <${Link} to="" class="brand">eventapi<//>
      <${Light} />
      <span class="space"></span>
      <${Button} aria-pressed=${isTravelling} onClick=${() => setTravelling(!isTravelling)}
        disabled=${Boolean(query.at)}>Time travel<//>
      <${Link} to="/auth/me" class="user" title="Your account">${who.user.username}<//>
      <${Button} busy=${busy} onClick=${run}>Sign out<//>
    </header>
    ${isTravelling && html`<${TimeBar} who=${who} close=${() => setTravelling(false)} />`}
    <nav id="menu" class=${isOpen ? "open" : ""} aria-label="Pages"><${Menu} who=${who} parts=${parts} /></nav>
    <main id="main" tabindex="-1">${children}</main>
    <${Messages} />
  </div>`;
}

function Menu({ who, parts }) {
  const here = parts.join("/");
  const entry = (to, title, isHere = here === to || here.startsWith(`${to}/`)) =>
    html`<li key=${to}><${Link} to="/${to}" aria-current=${isHere ? "page" : null}>${title}<//></li>`;
  const isServer = who.isOperator || who.isAuditor;
  return html`
    <h2>My things</h2>
    <ul>${who.resources.map((one) => entry(one.collection, one.title))}</ul>
    <h2>Log</h2>
    <ul>
      ${who.isAuditor && entry("audit/events", "Timeline")}
      ${who.isAuditor && has(who.document, "audit/diff") && entry("audit/diff", "Differences")}
      ${entry("log", "Light")}
    </ul>
    <h2>Server</h2>
    <ul>
      ${isServer && entry("users", "Users")}
      ${isServer && entry("webhooks", "Webhooks")}
      ${entry("health", "Health")}
    </ul>
    <h2>You</h2>
    <ul>${entry("auth/me", "Account")}</ul>`;
}

export const SIGNS = { green: "●", amber: "▲", red: "■" };

export function Light() {
  const verdict = useStore(light);
  const state = verdict?.state || "none";
  const text = verdict ? verdict.title : "Checking…";
  return html`<span role="status" class="light-place">
    <${Link} to="/log" class="light ${state}" title="Whether the log is what this browser has seen before">
      <span aria-hidden="true">${SIGNS[state] || "○"}</span> ${text}
      ${state === "green" && html`<span class="size">, ${verdict.size.toLocaleString("en")} events</span>`}
    <//>
  </span>`;
}
