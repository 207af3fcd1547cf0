// Search and filters of a table; all of them are in the address bar, with names of the API.

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { filtersIn } from "../openapi.js";
import { change } from "../router.js";
import { inZone, instantOf } from "../times.js";
import { Button, Dialog } from "./basics.js";

const PAUSE_MS = 250;

export function Search({ q, label, on = (text) => change({ q: text, after: undefined }) }) {
  const [text, setText] = useState(q || "");
  const timer = useRef();
  useEffect(() => setText(q || ""), [q]);
  const search = (event) => {
    setText(event.target.value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => on(event.target.value), PAUSE_MS);
  };
  return html`<input type="search" class="search" aria-label=${label} placeholder=${label} value=${text} onInput=${search} />`;
}

export function Filters({ resource, query }) {
  const [isOpen, setOpen] = useState(false);
  const active = filtersIn(query, resource);
  const remove = (one) => change({ [one.key]: undefined, after: undefined });
  return html`<div class="filters">
    <${Search} q=${query.q} label="Search ${resource.title.toLowerCase()}" />
    <${Button} onClick=${() => setOpen(true)}>Filter<//>
    <ul>
      ${active.map(
        (one) => html`<li key=${one.key} class="chip">
          <span>${one.field.label} ${wordsOf(one)}</span>
          <${Button} kind="link" aria-label="Remove the filter ${one.field.label}" onClick=${() => remove(one)}>✕<//>
        </li>`,
      )}
    </ul>
    ${isOpen && html`<${FilterDialog} resource=${resource} onClose=${() => setOpen(false)} />`}
  </div>`;
}

function wordsOf({ field, operator, value }) {
  if (operator.name === "null") return value === "true" ? "is empty" : "is not empty";
  const texts = operator.name === "in" ? value.split(",") : [value];
  return `${operator.label} ${texts.map((text) => wordOf(field, text)).join(" or ")}`;
}

function wordOf(field, text) {
  if (field.schema.type === "boolean") return { true: "yes", false: "no" }[text] || text;
  if (field.kind === "date-time") return inZone(text);
  return text;
}

// The values of the form as the API has them: a person types times in the zone of the browser, and a space after a comma.
function valueOf(field, operator, given) {
  if (operator.name !== "in") return field.kind === "date-time" ? instantOf(given[0]) : given[0];
  const texts = given.flatMap((text) => text.split(",")).map((text) => text.trim());
  return texts.map(field.kind === "date-time" ? instantOf : String).join(",");
}

const INPUTS = { date: "date", "date-time": "datetime-local" };
const EXAMPLES = { date: ", such as 2026-01-31, 2026-02-28", "date-time": ", such as 2026-01-31 12:00, 2026-02-28 12:00:30" };

function FilterDialog({ resource, onClose }) {
  const [name, setName] = useState(resource.filters.find((one) => one.field.name !== "id")?.field.name || "id");
  const filter = resource.filters.find((one) => one.field.name === name);
  const [operator, setOperator] = useState("");
  const known = filter.operators.find((one) => one.name === operator) || filter.operators[0];
  const { field } = filter;
  const isMany = known.name === "in";
  const choices = known.name === "null" || field.schema.type === "boolean" ? ["true", "false"] : field.kind === "choice" ? field.choices : null;
  const apply = (event) => {
    event.preventDefault();
    const given = new FormData(event.target).getAll("value");
    change({ [`${name}.${known.name}`]: valueOf(field, known, given), after: undefined });
    onClose();
  };
  const words = { true: known.name === "null" ? "empty" : "yes", false: known.name === "null" ? "not empty" : "no" };
  return html`<${Dialog} title="Filter ${resource.title.toLowerCase()}" onClose=${onClose}>
    <form onSubmit=${apply}>
      <div class="field"><label for="filter-field">Field</label>
        <select id="filter-field" onInput=${(event) => setName(event.target.value)}>
          ${resource.filters.map((one) => html`<option value=${one.field.name} selected=${one.field.name === name}>${one.field.label}</option>`)}
        </select></div>
      <div class="field"><label for="filter-operator">Condition</label>
        <select id="filter-operator" onInput=${(event) => setOperator(event.target.value)}>
          ${filter.operators.map((one) => html`<option value=${one.name} selected=${one === known}>${one.label}</option>`)}
        </select></div>
      <div class="field"><label for="filter-value">Value</label>
        ${choices
          ? html`<select id="filter-value" name="value" required multiple=${isMany}>
              ${choices.map((one) => html`<option value=${one}>${words[one] || one}</option>`)}</select>`
          : html`<input id="filter-value" name="value" required step="1" autocomplete="off"
              type=${isMany ? "text" : INPUTS[field.kind] || "text"} aria-describedby=${isMany ? "filter-hint" : null} />`}
        ${isMany && !choices && html`<small id="filter-hint">Several values, separated by commas${EXAMPLES[field.kind]}</small>`}</div>
      <div class="buttons"><button class="main">Show</button><${Button} onClick=${onClose}>Cancel<//></div>
    </form>
  <//>`;
}
