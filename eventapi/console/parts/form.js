// A form for fields of the OpenAPI document. The server alone checks the values; its answer is shown at the fields.

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { parse, stringify } from "../json.js";
import { instantOf, localText } from "../times.js";
import { Button, Failure, useAction } from "./basics.js";

// `onSubmit(values)` gets the values that differ from `initial`, and may throw a `Problem`.
export function Form({ fields: declared, initial = {}, submit, onSubmit, onCancel }) {
  const fields = declared.map((one) => ({ ...one, kind: kindFor(one, initial[one.name]) }));
  const [texts, setTexts] = useState(() => Object.fromEntries(fields.map((one) => [one.name, toText(one, initial)])));
  const form = useRef();
  const [wrong, setWrong] = useState([]);
  const { run, busy, error } = useAction(onSubmit);
  const faults = [...wrong, ...(error?.faults || [])];
  const faultOf = (field) => faults.filter((one) => one.pointer.split("/")[1] === field.name);
  const others = error && !fields.some((field) => faultOf(field).length);
  useEffect(() => form.current.querySelector('[aria-invalid="true"]')?.focus(), [error, wrong]);

  const send = (event) => {
    event.preventDefault();
    const [values, unreadable] = valuesOf(fields, texts, initial);
    setWrong(unreadable);
    if (!unreadable.length) run(values);
  };
  return html`<form ref=${form} onSubmit=${send} novalidate>
    ${fields.map(
      (field) => html`<${Field} key=${field.name} field=${field} text=${texts[field.name]} isGiven=${field.name in initial} faults=${faultOf(field)}
        onInput=${(text) => setTexts((last) => ({ ...last, [field.name]: text }))} />`,
    )}
    ${others && html`<${Failure} error=${error} />`}
    <div class="buttons">
      <button class="main" aria-busy=${busy} disabled=${busy}>${submit}</button>
      ${onCancel && html`<${Button} onClick=${onCancel}>Cancel<//>`}
    </div>
  </form>`;
}

// The kind of a control that holds a value unchanged: an input has one line, and a list of words no other line or space.
function kindFor({ kind }, value) {
  if (kind === "text" && /[\r\n]/.test(value)) return "long";
  if (kind === "words" && value?.some((one) => !one || /[\r\n]|^\s|\s$/.test(one))) return "json";
  return kind;
}

function Field({ field, text, isGiven, faults, onInput }) {
  const id = `field-${field.name}`;
  const about = [field.description && `${id}-about`, faults.length && `${id}-fault`].filter(Boolean).join(" ");
  const shared = {
    id,
    "aria-describedby": about || null,
    "aria-invalid": faults.length ? "true" : null,
    "aria-required": field.isRequired ? "true" : null,
    onInput: (event) => onInput(field.kind === "boolean" ? event.target.checked : event.target.value),
  };
  const name = html`${field.label}${!field.isRequired && field.kind !== "boolean" && html` <small>optional</small>`}`;
  if (field.kind === "choices") {
    const toggle = (one, isOn) => onInput(field.choices.filter((other) => (other === one ? isOn : text.includes(other))));
    return html`<fieldset class="field choices" aria-describedby=${about || null}>
      <legend>${name}</legend>
      ${field.choices.map(
        (one) => html`<label><input type="checkbox" checked=${text.includes(one)}
          onInput=${(event) => toggle(one, event.target.checked)} />${one}</label>`,
      )}
      <${Notes} id=${id} field=${field} faults=${faults} />
    </fieldset>`;
  }
  return html`<div class="field ${field.kind}">
    <label for=${id}>${name}</label>
    <${Control} field=${field} text=${text} isGiven=${isGiven} shared=${shared} />
    <${Notes} id=${id} field=${field} faults=${faults} />
  </div>`;
}

const Notes = ({ id, field, faults }) =>
  html`${field.description && html`<small id="${id}-about">${field.description.replaceAll("`", "")}</small>`}
    ${faults.length > 0 && html`<p class="fault" id="${id}-fault">${faults.map((one) => one.detail).join(". ")}</p>`}`;

const wordOf = (one) => (one === true ? "yes" : one === false ? "no" : one);

function Control({ field, text, isGiven, shared }) {
  switch (field.kind) {
    case "boolean":
      return html`<input type="checkbox" checked=${text} ...${shared} />`;
    case "choice":
      return html`<select value=${text} ...${shared}>
        ${(field.isNullable || !isGiven) && html`<option value=""></option>`}
        ${field.choices.map((one) => html`<option value=${String(one)} selected=${text === String(one)}>${wordOf(one)}</option>`)}
      </select>`;
    case "date":
      return html`<input type="date" value=${text} ...${shared} />`;
    case "date-time":
      return html`<input type="datetime-local" step="1" value=${text} ...${shared} />`;
    case "integer":
      return html`<input inputmode="numeric" autocomplete="off" value=${text} ...${shared} />`;
    case "number":
    case "decimal":
      return html`<input inputmode="decimal" autocomplete="off" value=${text} ...${shared} />`;
    case "long":
    case "words":
    case "json":
      return html`<textarea rows=${field.kind === "json" ? 6 : 3} value=${text} ...${shared}></textarea>`;
    default:
      return html`<input autocomplete="off" type=${field.name.includes("password") ? "password" : "text"} value=${text} ...${shared} />`;
  }
}

function toText(field, initial) {
  const value = initial[field.name];
  if (field.kind === "boolean") return value ?? field.schema.default ?? false;
  if (field.kind === "choices") return value ?? [];
  if (field.kind === "words") return (value ?? []).join("\n");
  if (value === null || value === undefined) return "";
  if (field.kind === "json") return stringify(value, 2);
  if (field.kind === "date-time") return localText(value);
  return String(value);
}

// Of other kinds, an empty text is no value: without one, the server takes the default, or says that a value is required.
const MAY_BE_EMPTY = ["text", "long", "words"];

// The values to send, and the faults of texts that no value can be made of.
function valuesOf(fields, texts, initial) {
  const [values, faults] = [{}, []];
  for (const field of fields) {
    const text = texts[field.name];
    const isGiven = field.name in initial;
    if (String(text) === String(toText(field, initial)) && (isGiven || !field.isRequired)) continue;
    const isValue = field.isNullable || (field.isRequired && MAY_BE_EMPTY.includes(field.kind));
    if (text === "" && !isGiven && !isValue) continue;
    try {
      values[field.name] = toValue(field, text);
    } catch (error) {
      faults.push({ pointer: `/${field.name}`, detail: error.message });
    }
  }
  return [values, faults];
}

function toValue(field, text) {
  if (field.kind === "boolean" || field.kind === "choices") return text;
  if (text === "" && field.isNullable) return null;
  if (field.kind === "words") return text.split("\n").map((one) => one.trim()).filter(Boolean);
  if (field.kind === "choice") return field.choices.find((one) => String(one) === text) ?? null;
  if (field.kind === "date-time") return instantOf(text);
  if (field.kind === "integer") {
    if (!/^[+-]?\d+$/.test(text.trim())) throw new Error("must be a whole number");
    const number = BigInt(text.trim());
    return Number.isSafeInteger(Number(number)) ? Number(number) : number;
  }
  if (field.kind === "number") {
    const number = Number(text.trim());
    if (text.trim() === "" || !Number.isFinite(number)) throw new Error("must be a number");
    return number;
  }
  if (field.kind === "json") {
    try {
      return parse(text);
    } catch {
      throw new Error("must be JSON, such as [\"a\", \"b\"]");
    }
  }
  return text;
}
