// The start: how much there is of everything.

import { html } from "../vendor/preact.js";
import { get } from "../api.js";
import { Failure, Heading } from "../parts/basics.js";
import { Link } from "../router.js";
import { useLoaded } from "../store.js";

export function Home({ who, at }) {
  const name = who.user.full_name || who.user.username;
  return html`<${Heading} title="Hello, ${name}" note="Everything that you can see on this server." />
    <ul class="cards">${who.resources.map((one) => html`<${Card} key=${one.collection} resource=${one} at=${at} />`)}</ul>`;
}

function Card({ resource, at }) {
  const { data, error } = useLoaded(
    (signal) => get(`/${resource.collection}`, { limit: 1, count: true, as_of: at, fields: "id" }, signal),
    [at],
  );
  return html`<li class="card-link">
    <h2><${Link} to="/${resource.collection}">${resource.title}<//></h2>
    <p class="note">${resource.description}</p>
    <p class="count">${data ? data.count.toLocaleString("en") : "…"}</p>
    <${Failure} error=${error} />
  </li>`;
}
