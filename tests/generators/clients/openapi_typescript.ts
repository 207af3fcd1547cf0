import createClient from "openapi-fetch";
import { account, address, check, name, password, report } from "./calls";
import type { paths } from "./client/schema";

async function status<T>(call: string, made: Promise<{ data?: T; response: Response }>): Promise<T> {
  const answer = await made;
  report(call, answer.response.status);
  return answer.data as T;
}

async function main(): Promise<void> {
  const open = createClient<paths>({ baseUrl: address });
  await status("register", open.POST("/api/v2/auth/register", { body: account }));
  const taken = await open.POST("/api/v2/auth/register", { body: account });
  check(taken.error?.type === "/problems/username-taken", "the refusal is another one");
  report("register", taken.response.status);
  const tokens = await status("login", open.POST("/api/v2/auth/login", { body: { username: name, password } }));
  const headers = { Authorization: `Bearer ${tokens.access_token}` };
  const api = createClient<paths>({ baseUrl: address, headers });
  const made = await status("create_item", api.POST("/api/v2/items", { body: { title: "a title" } }));
  await status("create_item", api.POST("/api/v2/items", { body: { title: "" } }));
  const params = { path: { item_id: made.id } };
  const read = await status("get_item", api.GET("/api/v2/items/{item_id}", { params }));
  check(read.title === "a title", "the item is another one");
  const page = await status("list_items", api.GET("/api/v2/items", { params: { query: { limit: 10 } } }));
  check(page.items.length === 1 && page.next === null, "the page is another one");
  const patch = { params, body: { description: "text" } };
  const changed = await status("update_item", api.PATCH("/api/v2/items/{item_id}", patch));
  check(changed.description === "text", "the item did not change");
  await status("replace_item", api.PUT("/api/v2/items/{item_id}", { params, body: { title: "another" } }));
  const history = await status("get_item_history", api.GET("/api/v2/items/{item_id}/history", { params }));
  check(history.length === 3, "the history is another one");
  await status("delete_item", api.DELETE("/api/v2/items/{item_id}", { params }));
  await status("get_item", api.GET("/api/v2/items/{item_id}", { params }));
  const refresh = { refresh_token: tokens.refresh_token };
  await status("refresh", api.POST("/api/v2/auth/refresh", { body: refresh }));
  await status("get_me", api.GET("/api/v2/auth/me"));
  await status("logout", api.POST("/api/v2/auth/logout"));
  await status("get_me", api.GET("/api/v2/auth/me"));
}

void main();
