// The console: sign in, load what the server offers, and show the page of the address.

import { html, render, useEffect } from "./vendor/preact.js";
import { start } from "./light.js";
import { asReader, loadMe, me } from "./me.js";
import { Button, Empty, Failure, Heading, Loading, Messages } from "./parts/basics.js";
import { Layout, Light } from "./parts/layout.js";
import { PresentNote } from "./parts/time-bar.js";
import { Link, route } from "./router.js";
import { forgetTokens, root, session } from "./session.js";
import { useLoaded, useStore } from "./store.js";
import { Account } from "./pages/account.js";
import { Collection } from "./pages/collection.js";
import { Diff } from "./pages/diff.js";
import { Entity } from "./pages/entity.js";
import { EventPage } from "./pages/event.js";
import { Health } from "./pages/health.js";
import { Home } from "./pages/home.js";
import { LightPage } from "./pages/light-page.js";
import { MAILED } from "./pages/mailed.js";
import { SignIn } from "./pages/sign-in.js";
import { Timeline } from "./pages/timeline.js";
import { User, Users } from "./pages/users.js";
import { Webhook, Webhooks } from "./pages/webhooks.js";

function Console() {
  const kept = useStore(session);
  const who = useStore(me);
  const isSignedIn = kept !== null;
  const { error, reload } = useLoaded(() => (isSignedIn ? loadMe() : Promise.resolve()), [isSignedIn]);
  useEffect(start, []);
  if (!isSignedIn) {
    return html`<div class="outside">
      <header class="top"><span class="brand">eventapi</span><${Light} /></header>
      <${SignIn} /><${Messages} />
    </div>`;
  }
  if (!who && error) {
    return html`<main class="card"><${Heading} title="Console" /><${Failure} error=${error} retry=${reload} />
      <${Button} onClick=${forgetTokens}>Sign out<//></main>`;
  }
  if (!who) return html`<main class="card"><${Loading} /></main>`;
  return html`<${Layout}><${Page} who=${who} /><//>`;
}

// Of these the API has no past: while a moment is chosen, their pages show the present, and nothing can be changed there.
const PRESENT = new Set(["users", "webhooks", "auth", "health", "log"]);

function Page({ who }) {
  const { parts, query } = useStore(route);
  if (!query.at || !PRESENT.has(parts[0])) return html`<${Place} who=${who} parts=${parts} query=${query} />`;
  return html`<${PresentNote} /><${Place} who=${asReader(who)} parts=${parts} query=${query} />`;
}

function Place({ who, parts, query }) {
  const [first, second, third] = parts;
  const resource = who.resources.find((one) => one.collection === first);
  const key = parts.join("/");
  if (!first) return html`<${Home} who=${who} at=${query.at} />`;
  if (resource && parts.length === 1) {
    return html`<${Collection} key=${key} who=${who} resource=${resource} query=${query} />`;
  }
  if (resource && parts.length === 2) {
    return html`<${Entity} key=${key} who=${who} resource=${resource} id=${second} query=${query} />`;
  }
  const pages = {
    "audit/events": () => html`<${Timeline} who=${who} query=${query} />`,
    "audit/diff": () => html`<${Diff} who=${who} query=${query} />`,
    log: () => html`<${LightPage} who=${who} />`,
    users: () => html`<${Users} who=${who} query=${query} />`,
    webhooks: () => html`<${Webhooks} who=${who} />`,
    health: () => html`<${Health} who=${who} />`,
    "auth/me": () => html`<${Account} who=${who} />`,
  };
  if (pages[key]) return pages[key]();
  if (first === "audit" && second === "events" && parts.length === 3) {
    return html`<${EventPage} key=${key} who=${who} position=${third} />`;
  }
  if (first === "users" && parts.length === 2) return html`<${User} key=${key} who=${who} id=${second} />`;
  if (first === "webhooks" && parts.length === 2) return html`<${Webhook} key=${key} who=${who} id=${second} />`;
  return html`<${Heading} title="There is no such page" />
    <${Empty} title="Nothing is at this address."><${Link} to="">Go to the start<//><//>`;
}

// The pages that links in mails lead to lie beside the console.
const Mailed = MAILED[location.pathname.slice(root.pathname.length)];

render(Mailed ? html`<${Mailed} /><${Messages} />` : html`<${Console} />`, document.getElementById("console"));
