// A value of a field as a person reads it.

import { html } from "../vendor/preact.js";
import { stringify } from "../json.js";
import { day } from "../times.js";
import { Time } from "./basics.js";

export const isNumeric = (field) => ["integer", "number", "decimal"].includes(field?.kind);

// A number, an integer of 64 bits as well, with every digit that it has.
export const grouped = (number) => String(number).replace(/^-?\d+(?=\.|$)/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ","));

export function Value({ field, value }) {
  if (value === null || value === undefined) return html`<span class="none">—</span>`;
  if (field?.kind === "date-time") return html`<${Time} at=${value} />`;
  if (field?.kind === "date") return html`<time datetime=${value}>${day(value)}</time>`;
  if (value === true) return "yes";
  if (value === false) return "no";
  if ((typeof value === "number" || typeof value === "bigint") && field?.name !== "id") return grouped(value);
  if (typeof value === "object") return html`<code>${stringify(value)}</code>`;
  return String(value);
}
