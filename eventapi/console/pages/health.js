// How the server is. It is read again every few seconds, in place.

import { html, useEffect } from "../vendor/preact.js";
import { get } from "../api.js";
import { Failure, Heading, Loading, Time } from "../parts/basics.js";
import { useLoaded } from "../store.js";
import { bytes } from "../times.js";

const EVERY_MS = 5000;

export function Health() {
  const { data, error, reload } = useLoaded((signal) => get("/health", {}, signal), []);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || reload(), EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  return html`<${Heading} title="Health" note="What the server says about itself." />
    <${Failure} error=${error} retry=${reload} />
    ${!data && !error && html`<${Loading} />`}
    ${data && html`<${Facts} health=${data} />`}`;
}

const number = (value) => (value === null || value === undefined ? "not known" : value.toLocaleString("en"));

function Facts({ health }) {
  const mail = health.mail;
  const failing = health.failing_webhooks || [];
  const check = health.chain_check;
  const cards = [
    ["Log", `${number(health.position)} events`, health.lag ? `${number(health.lag)} not yet read by this worker` : "all of them read"],
    ["Hash chain", !check || check.status === "done" ? "checked" : `${number(check.position)} of ${number(check.upto)}`, check ? "below the snapshot, after the start" : "before the start"],
    ["Disk", health.disk_free_bytes === null ? "not known" : bytes(health.disk_free_bytes), "free where the log is"],
    ["Workers", number(health.workers), `process ${health.process} answered`],
    ["Writes waiting", number(health.queued), "at this moment"],
    ["Checkpoints", health.signing === "ok" ? "signed" : "suspended", health.signing === "ok" ? "" : "an operator must act first"],
    ["Database", health.database || "none", health.database === "lost" ? `for ${number(Math.round(health.database_lost_seconds))} seconds` : ""],
    ["Redis", health.redis || "none", ""],
    ["Mail", mail ? (mail.failing_since ? "failing" : "ok") : "not known", mail ? (mail.failing_since ? html`since <${Time} at=${mail.failing_since} />` : `${number(mail.lag)} events behind`) : ""],
    ["Webhooks", failing.length ? `${failing.length} failing` : "ok", failing.map((id) => `webhook ${id}`).join(", ")],
    ["Up", duration(health.uptime_seconds), `version ${health.version}`],
  ];
  return html`<ul class="cards">
    ${cards.map(([title, value, note]) => html`<li key=${title}><h2>${title}</h2><p class="count">${value}</p><p class="note">${note}</p></li>`)}
    ${health.unknown_kinds.length > 0 && html`<li><h2>Unknown kinds</h2><p class="note">${health.unknown_kinds.join(", ")}: another version of the application declares them.</p></li>`}
  </ul>`;
}

function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
}
