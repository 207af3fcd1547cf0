// Whom a thing is shared with.

import { html } from "../vendor/preact.js";
import { get, request } from "../api.js";
import { useLoaded } from "../store.js";
import { Button, Dialog, Failure, Loading, useAction } from "./basics.js";

export function ShareDialog({ resource, entity, onDone }) {
  const path = `/${resource.collection}/${entity.id}/shares`;
  const { data, error, reload } = useLoaded((signal) => get(path, {}, signal), []);
  const share = useAction(async (event) => {
    const form = new FormData(event.target);
    const name = encodeURIComponent(form.get("username"));
    await request("PUT", `${path}/${name}`, { body: { can: form.get("can") } });
    event.target.reset();
    reload();
  });
  const end = useAction(async (name) => {
    await request("DELETE", `${path}/${encodeURIComponent(name)}`);
    reload();
  });
  const send = (event) => (event.preventDefault(), share.run(event));
  return html`<${Dialog} title="Share" onClose=${onDone}>
    <${Failure} error=${error || end.error} retry=${reload} />
    ${!data && html`<${Loading} />`}
    ${data && !data.length && html`<p>Only you can see this.</p>`}
    <ul class="plain">
      ${(data || []).map(
        (one) => html`<li key=${one.username} class="line"><span><strong>${one.username}</strong> can ${one.can}</span>
          <${Button} aria-label="Stop sharing with ${one.username}" onClick=${() => end.run(one.username)}>Stop<//></li>`,
      )}
    </ul>
    <form onSubmit=${send}>
      <div class="field"><label for="share-name">Username</label><input id="share-name" name="username" required autocomplete="off" /></div>
      <div class="field"><label for="share-can">May</label>
        <select id="share-can" name="can"><option value="read">read</option><option value="write">read and write</option></select></div>
      <${Failure} error=${share.error} />
      <div class="buttons"><button class="main" disabled=${share.busy}>Share</button><${Button} onClick=${onDone}>Done<//></div>
    </form>
  <//>`;
}
