// Search and filters of a table; all of them are in the address bar, with names of the API.

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { filtersIn } from "../openapi.js";
import { change } from "../router.js";
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
  const text = field.schema.type === "boolean" ? { true: "yes", false: "no" }[value] || value : value;
  return `${operator.label} ${text}`;
}

const INPUTS = { date: "date", "date-time": "datetime-local" };

function FilterDialog({ resource, onClose }) {
  const [name, setName] = useState(resource.filters.find((one) => one.field.name !== "id")?.field.name || "id");
  const filter = resource.filters.find((one) => one.field.name === name);
  const [operator, setOperator] = useState("");
  const known = filter.operators.find((one) => one.name === operator) || filter.operators[0];
  const { field } = filter;
  const choices = known.name === "null" || field.schema.type === "boolean" ? ["true", "false"] : field.kind === "choice" ? field.choices : null;
  const apply = (event) => {
    event.preventDefault();
    let value = new FormData(event.target).get("value");
    if (field.kind === "date-time" && known.name !== "in" && !choices && value) value = new Date(value).toISOString();
    change({ [`${name}.${known.name}`]: value, after: undefined });
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
          ? html`<select id="filter-value" name="value">
              ${choices.map((one) => html`<option value=${one}>${words[one] || one}</option>`)}</select>`
          : html`<input id="filter-value" name="value" required step="1" autocomplete="off"
              type=${known.name === "in" ? "text" : INPUTS[field.kind] || "text"} />`}
        ${known.name === "in" && html`<small>Several values, separated by commas</small>`}</div>
      <div class="buttons"><button class="main">Show</button><${Button} onClick=${onClose}>Cancel<//></div>
    </form>
  <//>`;
}
