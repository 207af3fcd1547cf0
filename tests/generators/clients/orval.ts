import { account, address, check, name, password, report } from "./calls";
import * as api from "./client/api";

// The client calls fetch with a path; a browser would add the origin of its page.
const send = globalThis.fetch;
globalThis.fetch = (input, init) => send(new URL(String(input), address), init);

async function status<T extends { status: number }>(call: string, made: Promise<T>): Promise<T> {
  const answer = await made;
  report(call, answer.status);
  return answer;
}

async function main(): Promise<void> {
  await status("register", api.register(account));
  await status("register", api.register(account));
  const tokens = await status("login", api.login({ username: name, password }));
  if (tokens.status !== 200) return;
  const options = { headers: { Authorization: `Bearer ${tokens.data.access_token}` } };
  const made = await status("create_item", api.createItem({ title: "a title" }, options));
  if (made.status !== 201) return;
  const id = made.data.id;
  await status("create_item", api.createItem({ title: "" }, options));
  const read = await status("get_item", api.getItem(id, undefined, options));
  check(read.status === 200 && read.data.title === "a title", "the item is another one");
  const page = await status("list_items", api.listItems({ limit: 10 }, options));
  check(page.status === 200 && page.data.items.length === 1, "the page is another one");
  const changed = await status("update_item", api.updateItem(id, { description: "text" }, options));
  check(changed.status === 200 && changed.data.description === "text", "the item did not change");
  await status("replace_item", api.replaceItem(id, { title: "another" }, options));
  const history = await status("get_item_history", api.getItemHistory(id, undefined, options));
  check(history.status === 200 && history.data.length === 3, "the history is another one");
  await status("delete_item", api.deleteItem(id, options));
  await status("get_item", api.getItem(id, undefined, options));
  await status("refresh", api.refresh({ refresh_token: tokens.data.refresh_token }));
  await status("get_me", api.getMe(options));
  await status("logout", api.logout(options));
  await status("get_me", api.getMe(options));
}

void main();
