import { account, address, check, name, password, report } from "./calls";
import { Api, type HttpResponse } from "./client/api";

async function status<T, E>(call: string, made: Promise<HttpResponse<T, E>>): Promise<T> {
  const answer = await made;
  report(call, answer.status);
  return answer.data;
}

async function refusal<T, E>(call: string, made: Promise<HttpResponse<T, E>>): Promise<void> {
  try {
    await made;
  } catch (error) {
    report(call, (error as HttpResponse<T, E>).status);
  }
}

async function main(): Promise<void> {
  const client = new Api<string>({
    baseUrl: address,
    securityWorker: (token) => ({ headers: { Authorization: `Bearer ${token}` } }),
  });
  const api = client.api;
  await status("register", api.register(account));
  await refusal("register", api.register(account));
  const tokens = await status("login", api.login({ username: name, password }));
  client.setSecurityData(tokens.access_token);
  const made = await status("create_item", api.createItem({ title: "a title" }));
  await refusal("create_item", api.createItem({ title: "" }));
  const read = await status("get_item", api.getItem(made.id));
  check(read.title === "a title", "the item is another one");
  const page = await status("list_items", api.listItems({ limit: 10 }));
  check(page.items.length === 1 && page.next === null, "the page is another one");
  const changed = await status("update_item", api.updateItem(made.id, { description: "text" }));
  check(changed.description === "text", "the item did not change");
  await status("replace_item", api.replaceItem(made.id, { title: "another" }));
  const history = await status("get_item_history", api.getItemHistory(made.id));
  check(history.length === 3, "the history is another one");
  await status("delete_item", api.deleteItem(made.id));
  await refusal("get_item", api.getItem(made.id));
  await status("refresh", api.refresh({ refresh_token: tokens.refresh_token }));
  await status("get_me", api.getMe());
  await status("logout", api.logout());
  await refusal("get_me", api.getMe());
}

void main();
