import { account, address, check, name, password, report } from "./calls";
import { AuthApi, Configuration, ItemsApi, ResponseError, type TokenPair } from "./client";

async function status<T>(call: string, made: Promise<{ raw: Response; value(): Promise<T> }>): Promise<T> {
  const answer = await made;
  report(call, answer.raw.status);
  return await answer.value();
}

async function refusal(call: string, made: Promise<unknown>): Promise<void> {
  try {
    await made;
  } catch (error) {
    check(error instanceof ResponseError, String(error));
    report(call, (error as ResponseError).response.status);
  }
}

async function main(): Promise<void> {
  const open = new AuthApi(new Configuration({ basePath: address }));
  await status("register", open.registerRaw({ registration: account }));
  await refusal("register", open.register({ registration: account }));
  const tokens: TokenPair = await status("login", open.loginRaw({ passwordGrant: { username: name, password } }));
  // This generator sends the token of an OAuth 2.0 scheme without "Bearer".
  const accessToken = `Bearer ${tokens.accessToken}`;
  const configuration = new Configuration({ basePath: address, accessToken });
  const auth = new AuthApi(configuration);
  const items = new ItemsApi(configuration);
  const made = await status("create_item", items.createItemRaw({ itemBody: { title: "a title" } }));
  await refusal("create_item", items.createItem({ itemBody: { title: "" } }));
  const itemId = made.id;
  const read = await status("get_item", items.getItemRaw({ itemId }));
  check(read.title === "a title" && read.createdAt !== undefined, "the item is another one");
  const page = await status("list_items", items.listItemsRaw({ limit: 10 }));
  check(page.items.length === 1 && page.next === null, "the page is another one");
  const changed = await status("update_item", items.updateItemRaw({ itemId, itemPatch: { description: "text" } }));
  check(changed.description === "text", "the item did not change");
  await status("replace_item", items.replaceItemRaw({ itemId, itemBody: { title: "another" }, idempotencyKey: "1" }));
  const history = await status("get_item_history", items.getItemHistoryRaw({ itemId }));
  check(history.length === 3, "the history is another one");
  await status("delete_item", items.deleteItemRaw({ itemId }));
  await refusal("get_item", items.getItem({ itemId }));
  await status("refresh", auth.refreshRaw({ refreshGrant: { refreshToken: tokens.refreshToken } }));
  await status("get_me", auth.getMeRaw({}));
  await status("logout", auth.logoutRaw({}));
  await refusal("get_me", auth.getMe());
}

void main();
