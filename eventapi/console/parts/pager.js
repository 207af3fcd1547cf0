// The way through the pages of a list: cursors go forwards only, so the ones before are kept here.

import { html, useRef } from "../vendor/preact.js";
import { change } from "../router.js";
import { Button } from "./basics.js";

// The cursor of the next page, from its URL; the rest of the URL may name this server differently.
export const cursorOf = (page) => (page?.next ? new URL(page.next).searchParams.get("after") : null);

export function Pager({ after, page, count }) {
  const before = useRef([]);
  if (!after) before.current = [];
  const next = cursorOf(page);
  const forward = () => {
    before.current.push(after);
    change({ after: next }, false);
  };
  const back = () => change({ after: before.current.pop() }, false);
  return html`<div class="pager">
    <p>${count}</p>
    ${(after || next) &&
    html`<${Button} disabled=${!after} onClick=${back}>${after && !before.current.length ? "First page" : "Previous"}<//>
      <${Button} disabled=${!next} onClick=${forward}>Next<//>`}
  </div>`;
}
