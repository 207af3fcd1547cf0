// What the signed-in user is and may do, and what the server offers: loaded once after signing in.

import { get, request } from "./api.js";
import { resources } from "./openapi.js";
import { forgetTokens, hasExpired, session } from "./session.js";
import { createMoments } from "./times.js";
import { createStore } from "./store.js";

export const moments = createMoments();

// {user, document, resources, isAuditor, isOperator, mayChange}, or null.
export const me = createStore(null);

let document_ = null;

export async function loadMe() {
  const [user, document] = await Promise.all([get("/auth/me"), document_ || get("/openapi.json")]);
  document_ = document;
  me.set({
    user,
    document,
    resources: resources(document),
    isAuditor: user.roles.includes("auditor"),
    isOperator: user.roles.includes("operator"),
    mayChange: true,
  });
}

// The same person where nothing can be changed.
export const asReader = (who) => ({ ...who, isOperator: false, mayChange: false });

export async function signOut() {
  try {
    await request("POST", "/auth/logout");
  } catch (error) {
    if (error.status !== 401) throw error;
  }
  hasExpired.set(false);
  forgetTokens();
}

session.subscribe((kept) => kept === null && me.set(null));

// Learn some times of positions, so that the slider can say when a position was.
export async function learnMoments(isAuditor, last) {
  const pages = [get("/auth/me/events", { limit: 100 }), get("/auth/me/events", { limit: 20, order: "asc" })];
  for (const page of await Promise.all(pages)) page.items.forEach((one) => moments.know(one.position, one.time));
  if (isAuditor && last) await Promise.all([learnExactly(1), learnExactly(last)]);
}

// For auditors: the exact time of a position.
export async function learnExactly(position, signal) {
  if (moments.timeOf(position)?.isExact) return;
  const page = await get("/audit/events", { after: position - 1, limit: 1 }, signal);
  page.items.forEach((one) => moments.know(one.id, one.time));
}
