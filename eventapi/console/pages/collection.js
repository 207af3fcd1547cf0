// The table of a resource, as it is now or was at a moment.

import { html, useState } from "../vendor/preact.js";
import { request } from "../api.js";
import { stringify } from "../json.js";
import { moments } from "../me.js";
import { filtersIn, isSortable, titleField } from "../openapi.js";
import { Button, Empty, Failure, Heading, Loading } from "../parts/basics.js";
import { CreateDialog } from "../parts/edit.js";
import { Filters } from "../parts/filters.js";
import { Pager } from "../parts/pager.js";
import { PastNote } from "../parts/time-bar.js";
import { Value, isNumeric } from "../parts/values.js";
import { Link, change, go } from "../router.js";
import { useLoaded } from "../store.js";

const ROWS = 50;
const HIDDEN = new Set(["version", "created_at"]);

export function Collection({ who, resource, query }) {
  const [isNew, setNew] = useState(false);
  const { at, q, after, sort = "-id" } = query;
  const filters = filtersIn(query, resource);
  const given = Object.fromEntries(filters.map((one) => [one.parameter, one.value]));
  const isFiltered = Boolean(q || filters.length);
  const load = async (signal) => {
    // To count what matched in the past, the server would read all that has changed since.
    const count = after || (at && isFiltered) ? undefined : true;
    const parameters = { limit: ROWS, q, sort, after, as_of: at, count, ...given };
    const { data: page, may } = await request("GET", `/${resource.collection}`, { query: parameters, signal });
    page.items.forEach((one) => moments.know(one.version, one.updated_at));
    return { ...page, mayCreate: may("POST") };
  };
  const { data, error, loading, reload } = useLoaded(load, [at, q, after, sort, stringify(given)]);
  const known = data?.count ?? (data && !after && !data.next ? data.items.length : null);
  const count = known === null ? "" : `${known.toLocaleString("en")} ${known === 1 ? resource.noun : resource.title.toLowerCase()}`;
  return html`
    <${Heading} title=${resource.title} note=${resource.description}>
      ${data?.mayCreate && !at && html`<${Button} kind="main" onClick=${() => setNew(true)}>New ${resource.noun}<//>`}
    <//>
    <${PastNote} at=${at} />
    <${Filters} resource=${resource} query=${query} />
    <${Failure} error=${error} retry=${reload} />
    ${!data && loading && html`<${Loading} />`}
    ${data &&
    !error &&
    (data.items.length
      ? html`<${Table} who=${who} resource=${resource} rows=${data.items} sort=${sort} busy=${loading} />
          <${Pager} after=${after} page=${data} count=${count} />`
      : html`<${Nothing} resource=${resource} at=${at} isFiltered=${isFiltered} filters=${filters} create=${data.mayCreate && (() => setNew(true))} />`)}
    ${isNew &&
    html`<${CreateDialog} resource=${resource} onClose=${() => setNew(false)}
      onDone=${(entity) => (setNew(false), go(`/${resource.collection}/${entity.id}`))} />`}`;
}

function Nothing({ resource, at, isFiltered, filters, create }) {
  const plural = resource.title.toLowerCase();
  if (isFiltered) {
    const nothing = Object.fromEntries(filters.map((one) => [one.key, undefined]));
    return html`<${Empty} title="No ${plural} match.">
      <${Button} onClick=${() => change({ ...nothing, q: undefined, after: undefined })}>Show all<//><//>`;
  }
  if (at) return html`<${Empty} title="There were no ${plural} at that moment." />`;
  return html`<${Empty} title="There are no ${plural} yet.">
    <p>${resource.description}</p>
    ${create && html`<${Button} kind="main" onClick=${create}>Create the first ${resource.noun}<//>`}<//>`;
}

function Table({ who, resource, rows, sort, busy }) {
  const isShared = rows.some((one) => one.owner !== who.user.username);
  const fields = resource.fields.filter((one) => !HIDDEN.has(one.name) && (one.name !== "owner" || isShared));
  const title = titleField(resource) || "id";
  const link = (row, content) => html`<${Link} to="/${resource.collection}/${row.id}" class="row-link">${content}<//>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${resource.title}>
    <table aria-busy=${busy} class=${busy ? "busy" : ""}>
      <thead><tr>${fields.map((one) => html`<${HeadCell} key=${one.name} field=${one} sort=${isSortable(resource, one) ? sort : null} />`)}</tr></thead>
      <tbody>
        ${rows.map(
          (row) => html`<tr key=${row.id}>
            ${fields.map((field) => {
              const value = html`<${Value} field=${field} value=${row[field.name]} />`;
              return html`<td key=${field.name} class=${isNumeric(field) ? "number" : ""}>
                ${field.name === title ? link(row, value) : value}</td>`;
            })}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

const LABELS = { id: "Id", updated_at: "Changed" };

// `sort` is the order of the table, or null if this field can give it none.
function HeadCell({ field, sort }) {
  const order = sort === field.name ? "ascending" : sort === `-${field.name}` ? "descending" : null;
  const text = LABELS[field.name] || field.label;
  const next = order === "ascending" ? `-${field.name}` : field.name;
  return html`<th scope="col" aria-sort=${order} class=${isNumeric(field) ? "number" : ""}>
    ${sort !== null
      ? html`<button type="button" onClick=${() => change({ sort: next, after: undefined })}>${text}
          <span aria-hidden="true" class="arrow">${order === "ascending" ? "▲" : order ? "▼" : ""}</span></button>`
      : text}
  </th>`;
}
