// The names of users by subject: the caller's own, and for auditors and operators all of them.

import { html, useEffect } from "../vendor/preact.js";
import { get } from "../api.js";
import { createStore, useStore } from "../store.js";

const names = createStore({});
const asked = new Set();

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
    if (own) names.set((last) => ({ ...last, [own]: who.user.username }));
  }
  if (name) names.set((last) => ({ ...last, [subject]: name }));
}

export function Name({ who, subject }) {
  const known = useStore(names);
  useEffect(() => void learn(who, subject).catch(() => {}), [subject]);
  return html`<span title=${subject}>${known[subject] || subject}</span>`;
}
