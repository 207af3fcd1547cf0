// Pages at an earlier moment: what they show is of that moment, or they say that it is not.

import { expect } from "./kit.mjs";

const button = (page, name) => page.getByRole("button", { name, exact: true });

async function present({ page, open, operator, token, signIn, user, request, has, check, axe }) {
  const ann = await user();
  const otto = await token(operator);
  const { items } = await request("GET", `/users?q=${ann.username}`, { token: otto });
  const webhook = await request("POST", "/webhooks", { token: otto, body: { url: "https://hooks.invalid/present", types: ["gauge.*"] } });
  const pages = {
    "/users": "New user",
    [`/users/${items[0].id}`]: "Save the roles",
    "/webhooks": "New webhook",
    [`/webhooks/${webhook.id}`]: "Send a test",
    "/auth/me": "New key",
    "/health": null,
  };
  await open("/auth/me?at=1");
  await signIn(operator);
  for (const [path, change] of Object.entries(pages)) {
    await open(`${path}?at=1`);
    await has("it shows the present");
    await page.getByRole("heading", { level: 1 }).waitFor();
    await page.locator("main table, main dl, main .cards").first().waitFor();
    const enabled = await page.locator("main button:enabled").allInnerTexts();
    expect(!enabled.length, `${path} offers ${enabled}`);
    await axe();
    await button(page, "Back to now").click();
    if (change) await page.locator("main button:enabled", { hasText: change }).waitFor();
    expect(!(await page.getByText("it shows the present").count()), `${path} shows the present, and no note`);
  }
  await open("/users?at=1");
  await page.getByRole("searchbox").fill(ann.username); // To look is possible.
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
  check();
}

export const flows = { present };
