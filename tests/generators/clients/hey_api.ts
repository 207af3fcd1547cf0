import { account, address, check, name, password, report } from "./calls";
import * as api from "./client";
import { client } from "./client/client.gen";

async function status<T>(call: string, made: Promise<{ data?: T; response?: Response }>): Promise<T> {
  const answer = await made;
  report(call, answer.response?.status ?? 0);
  return answer.data as T;
}

async function main(): Promise<void> {
  client.setConfig({ baseUrl: address });
  await status("register", api.register({ body: account }));
  await status("register", api.register({ body: account }));
  const tokens = await status("login", api.login({ body: { username: name, password } }));
  client.setConfig({ auth: tokens.access_token });
  const made = await status("create_item", api.createItem({ body: { title: "a title" } }));
  await status("create_item", api.createItem({ body: { title: "" } }));
  const path = { item_id: made.id };
  const read = await status("get_item", api.getItem({ path }));
  check(read.title === "a title", "the item is another one");
  const page = await status("list_items", api.listItems({ query: { limit: 10 } }));
  check(page.items.length === 1 && page.next === null, "the page is another one");
  const changed = await status("update_item", api.updateItem({ path, body: { description: "text" } }));
  check(changed.description === "text", "the item did not change");
  await status("replace_item", api.replaceItem({ path, body: { title: "another" } }));
  const history = await status("get_item_history", api.getItemHistory({ path }));
  check(history.length === 3, "the history is another one");
  await status("delete_item", api.deleteItem({ path }));
  await status("get_item", api.getItem({ path }));
  await status("refresh", api.refresh({ body: { refresh_token: tokens.refresh_token } }));
  await status("get_me", api.getMe());
  await status("logout", api.logout());
  await status("get_me", api.getMe());
}

void main();
