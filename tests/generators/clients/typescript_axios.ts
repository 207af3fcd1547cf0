import { isAxiosError, type AxiosResponse } from "axios";
import { account, address, check, name, password, report } from "./calls";
import { AuthApi, Configuration, ItemsApi } from "./client";

async function status<T>(call: string, made: Promise<AxiosResponse<T>>): Promise<T> {
  const answer = await made;
  report(call, answer.status);
  return answer.data;
}

async function refusal(call: string, made: Promise<unknown>): Promise<void> {
  try {
    await made;
  } catch (error) {
    check(isAxiosError(error) && error.response !== undefined, String(error));
    report(call, isAxiosError(error) ? (error.response?.status ?? 0) : 0);
  }
}

async function main(): Promise<void> {
  const open = new AuthApi(new Configuration({ basePath: address }));
  await status("register", open.register(account));
  await refusal("register", open.register(account));
  const tokens = await status("login", open.login({ username: name, password }));
  const configuration = new Configuration({ basePath: address, accessToken: tokens.access_token });
  const auth = new AuthApi(configuration);
  const items = new ItemsApi(configuration);
  const made = await status("create_item", items.createItem({ title: "a title" }));
  await refusal("create_item", items.createItem({ title: "" }));
  const read = await status("get_item", items.getItem(made.id));
  check(read.title === "a title", "the item is another one");
  const page = await status("list_items", items.listItems(10));
  check(page.items.length === 1 && page.next === null, "the page is another one");
  const changed = await status("update_item", items.updateItem(made.id, { description: "text" }));
  check(changed.description === "text", "the item did not change");
  await status("replace_item", items.replaceItem(made.id, { title: "another" }));
  const history = await status("get_item_history", items.getItemHistory(made.id));
  check(history.length === 3, "the history is another one");
  await status("delete_item", items.deleteItem(made.id));
  await refusal("get_item", items.getItem(made.id));
  await status("refresh", auth.refresh({ refresh_token: tokens.refresh_token }));
  await status("get_me", auth.getMe());
  await status("logout", auth.logout());
  await refusal("get_me", auth.getMe());
}

void main();
