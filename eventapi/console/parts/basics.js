// Small parts that every page is made of.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact.js";
import { createStore, useStore } from "../store.js";
import { inUtc, inZone } from "../times.js";

export function Time({ at }) {
  if (!at) return html`<span class="none">—</span>`;
  return html`<time datetime=${at} title=${inUtc(at)}>${inZone(at)}</time>`;
}

export function Button({ kind = "plain", busy = false, children, ...rest }) {
  return html`<button type="button" class=${kind} aria-busy=${busy} disabled=${busy} ...${rest}>${children}</button>`;
}

// The head of a page; its title is also that of the window, and gets the focus when the page is opened.
export function Heading({ title, children, note }) {
  const ref = useRef();
  useEffect(() => {
    document.title = `${title} · Console`;
  }, [title]);
  useEffect(() => ref.current?.focus({ preventScroll: true }), []);
  return html`<header class="heading">
    <div><h1 tabindex="-1" ref=${ref}>${title}</h1>${note && html`<p class="note">${note}</p>`}</div>
    <div class="buttons">${children}</div>
  </header>`;
}

export function Failure({ error, retry }) {
  if (!error) return null;
  return html`<p class="failure" role="alert">
    ${error.message}${" "}${retry && html`<${Button} kind="link" onClick=${retry}>Try again<//>`}
  </p>`;
}

export const Empty = ({ title, children }) =>
  html`<div class="empty"><p class="empty-title">${title}</p>${children}</div>`;

export const Loading = () => html`<p class="loading" role="status">Loading…</p>`;

// A dialog of the browser: its first field gets the focus, Escape closes it, and the focus returns.
export function Dialog({ title, onClose, children }) {
  const ref = useRef();
  useLayoutEffect(() => {
    const dialog = ref.current;
    dialog.showModal();
    dialog.querySelector("input, select, textarea")?.focus();
    return () => dialog.close(); // Before it is removed, or the focus would not return.
  }, []);
  return html`<dialog ref=${ref} aria-labelledby="dialog-title"
    onCancel=${(event) => (event.preventDefault(), onClose())}>
    <div class="dialog-head">
      <h2 id="dialog-title">${title}</h2>
      <${Button} kind="link" aria-label="Close" onClick=${onClose}>✕<//>
    </div>
    ${children}
  </dialog>`;
}

// Messages at the edge of the page. One with an action stays until it is used or closed.
const message = createStore(null);

export const say = (text, action = null) => message.set({ text, action });

export function Messages() {
  const shown = useStore(message);
  useEffect(() => {
    if (!shown || shown.action) return undefined;
    const timer = setTimeout(() => message.set((now) => (now === shown ? null : now)), 8000);
    return () => clearTimeout(timer);
  }, [shown]);
  const act = async () => {
    message.set(null);
    try {
      await shown.action.run();
    } catch (error) {
      say(error.message);
    }
  };
  return html`<div class="messages" role="status" aria-live="polite">
    ${shown &&
    html`<p class="message">
      <span>${shown.text}</span>
      ${shown.action && html`<${Button} kind="link" onClick=${act}>${shown.action.label}<//>`}
      <${Button} kind="link" aria-label="Close the message" onClick=${() => message.set(null)}>✕<//>
    </p>`}
  </div>`;
}

// Run something that a button starts: {run, busy, error}.
export function useAction(work) {
  const [state, setState] = useState({ busy: false, error: null });
  const run = async (...given) => {
    setState({ busy: true, error: null });
    try {
      const result = await work(...given);
      setState({ busy: false, error: null });
      return result;
    } catch (error) {
      setState({ busy: false, error });
      return undefined;
    }
  };
  return { ...state, run };
}

// A text that is shown once, such as a key: with a button that copies it.
export function Secret({ label, text }) {
  const [copied, setCopied] = useState(false);
  const copy = () => navigator.clipboard?.writeText(text).then(() => setCopied(true));
  return html`<div class="secret">
    <label>${label}<input readonly value=${text} onFocus=${(event) => event.target.select()} /></label>
    <${Button} onClick=${copy}>${copied ? "Copied" : "Copy"}<//>
  </div>`;
}

export function download(name, content, type = "application/json") {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
