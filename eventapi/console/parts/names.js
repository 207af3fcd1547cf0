// The names of users by subject: the caller's own, and for auditors and operators all of them.

import { html, useEffect } from "../vendor/preact.js";
import { get } from "../api.js";
import { createStore, useStore } from "../store.js";

// A store for each subject, because a page may have names by the thousand.
const names = new Map();
const asked = new Set();

function nameOf(subject) {
  if (!names.has(subject)) names.set(subject, createStore(null));
  return names.get(subject);
}

async function learn(who, subject) {
  if (asked.has(subject) || !subject.startsWith("users/")) return;
  asked.add(subject);
  let name = null;
  if (who.isAuditor || who.isOperator) name = (await get(`/${subject}`)).username;
  else if (!asked.has("me")) {
    asked.add("me");
    // A session is always started by its own user.
    const page = await get("/auth/me/events", { limit: 100 });
    const own = page.items.find((one) => one.type === "session.started")?.actor;
    if (own) nameOf(own).set(who.user.username);
  }
  if (name) nameOf(subject).set(name);
}

export function Name({ who, subject }) {
  const known = useStore(nameOf(subject));
  useEffect(() => void learn(who, subject).catch(() => {}), [subject]);
  return html`<span title=${subject}>${known || subject}</span>`;
}
