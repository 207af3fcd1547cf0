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

async function atTime({ page, open, auditor, token, signIn, user, request, has, check, axe }) {
  const ann = await user();
  const made = await request("POST", "/gauges", { token: ann.token, body: { name: "first" } });
  const path = `/gauges/${made.id}`;
  const second = await request("PATCH", path, { token: ann.token, body: { name: "second" } });
  await request("PATCH", path, { token: ann.token, body: { name: "third" } });
  const eve = await token(auditor);
  const { items } = await request("GET", `/audit/events?after=${second.version - 1}&limit=1`, { token: eve });
  const time = items[0].time; // Between the changes, and to the microsecond.

  await open(`/audit/events?at=${encodeURIComponent(time)}`);
  await signIn(auditor);
  const newest = () => page.locator("tbody tr td:first-child").first().innerText();
  await page.locator("tbody tr").first().waitFor();
  expect((await newest()) === second.version.toLocaleString("en"), `${await newest()} is later than ${second.version}`);
  await page.getByText(/up to \d+ \w+ \d{4}, \d\d:\d\d:\d\d/).waitFor();
  await page.getByRole("searchbox", { name: /^Subject/ }).fill(`gauges/${made.id}`);
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 2);
  await axe();
  await open(`/audit/events?at=${made.version}`);
  await page.getByText(`up to event ${made.version.toLocaleString("en")}`).waitFor();
  await page.locator("tbody tr").first().waitFor();
  expect((await newest()) === made.version.toLocaleString("en"), await newest());

  await button(page, "Sign out").click();
  await open(`${path}?at=${encodeURIComponent(time)}`);
  await signIn(ann.username);
  await page.getByRole("heading", { name: "second", level: 1 }).waitFor();
  await page.locator(".history > li").first().waitFor();
  expect((await page.locator(".history > li.later").count()) === 1, "one change is later");
  check();
}

async function noTime({ page, open, user, signIn, has, check }) {
  const ann = await user();
  await open("/gauges?at=yesterday"); // A link that was written by hand.
  await signIn(ann.username);
  await page.getByRole("alert").waitFor();
  await button(page, "Back to now").click();
  await has("There are no gauges yet.");
  check();
}

export const flows = { present, atTime, noTime };
