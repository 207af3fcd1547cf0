// The address bar: where the page is, and how it gets elsewhere without loading anew.

import { html } from "./vendor/preact.js";
import { createStore } from "./store.js";
import { root } from "./session.js";

const BASE = `${root.pathname}console`;

function here() {
  const parts = location.pathname.slice(BASE.length).split("/").filter(Boolean).map(decodeURIComponent);
  return { parts, query: Object.fromEntries(new URLSearchParams(location.search)) };
}

export const route = createStore(here());

addEventListener("popstate", () => route.set(here()));

// The address of a page; the moment that is shown stays, unless `query` sets `at`.
export function address(path, query = {}) {
  const at = route.get().query.at;
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries({ at, ...query })) {
    if (value !== undefined && value !== null && value !== "") parameters.set(name, value);
  }
  const text = parameters.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return `${BASE}${path}${text ? `?${text}` : ""}`;
}

export function go(path, query = {}, replace = false) {
  const url = address(path, query);
  if (replace) history.replaceState(null, "", url);
  else history.pushState(null, "", url);
  route.set(here());
  if (!replace) scrollTo(0, 0);
}

// Change some parameters of the page that is shown; undefined removes one.
export function change(query, replace = true) {
  const now = route.get();
  go(`/${now.parts.map(encodeURIComponent).join("/")}`.replace(/\/$/, ""), { ...now.query, ...query }, replace);
}

export function Link({ to, query, children, ...rest }) {
  const follow = (event) => {
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to, query);
  };
  return html`<a href=${address(to, query)} onClick=${follow} ...${rest}>${children}</a>`;
}
