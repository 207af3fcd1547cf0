// Swagger UI, as a person uses it: log in with the form, send requests, read the answers.

import { PASSWORD, expect, totp } from "./kit.mjs";

async function tryItOut({ page, base, path, version, shots, user, check }) {
  const ann = await user();
  await page.goto(base + path);
  const shoot = (name) => shots && page.screenshot({ path: `${shots}/${version}-${name}.png` });
  const operation = (id) => page.locator(`[id="operations-${id}"]`);
  await operation("items-create_item").waitFor();
  const { paths, tags } = await (await fetch(`${base}/api/${version}/openapi.json`)).json();
  const shownTags = await page.locator(".opblock-tag").evaluateAll((all) => all.map((one) => one.dataset.tag));
  expect(shownTags.join() === tags.map((one) => one.name).join(), `tags: ${shownTags}`);
  for (const { description } of tags) await page.locator(".opblock-tag", { hasText: description }).first().waitFor();
  const shown = await page.locator(".opblock-summary").evaluateAll((all) =>
    all.map((one) => [
      one.querySelector(".opblock-summary-method").innerText,
      one.querySelector(".opblock-summary-path").dataset.path,
    ]),
  );
  const expected = Object.entries(paths).flatMap(([place, methods]) =>
    Object.keys(methods).map((method) => [method.toUpperCase(), place]),
  );
  expect(shown.sort().join() === expected.sort().join(), "every operation of the version is there once");
  expect(shown.every(([method, place]) => method !== "HEAD" && place.startsWith(`/api/${version}/`)), `${shown}`);
  await shoot("page");

  const dialog = page.locator(".dialog-ux");
  const apply = dialog.getByRole("button", { name: "Apply given OAuth2 credentials" });
  await page.locator(".scheme-container").getByRole("button", { name: "Authorize" }).click();
  await dialog.getByLabel("username:").fill(ann.username);
  await dialog.getByLabel("password:").fill("a wrong password");
  await apply.click();
  await dialog.locator(".errors").waitFor();
  await dialog.getByLabel("password:").fill(PASSWORD);
  await apply.click();
  await dialog.getByRole("button", { name: "Remove authorization" }).waitFor();
  await shoot("authorized");
  await dialog.getByRole("button", { name: "Close" }).first().click();

  // Send a request as the page proposes it, with another body if there is one; return the answer.
  const send = async (id, body) => {
    const found = operation(id);
    if (!(await found.locator(".opblock-body").count())) {
      await found.locator(".opblock-summary-control").click();
      await found.getByRole("button", { name: "Try it out" }).click();
    }
    if (body) await found.locator("textarea").first().fill(JSON.stringify(body));
    const path = new RegExp(`^/api/${version}/`);
    const answered = page.waitForResponse((one) => path.test(new URL(one.url()).pathname));
    await found.getByRole("button", { name: "Execute" }).click();
    const response = await answered;
    await found.locator(".live-responses-table", { hasText: String(response.status()) }).first().waitFor();
    return { status: response.status(), data: await response.json() };
  };
  const created = version === "v1" ? 200 : 201;
  const me = await send("auth-get_me");
  expect(me.data.username === ann.username, JSON.stringify(me));
  for (const title of ["one", "two"]) {
    const made = await send("items-create_item", { title });
    expect(made.status === created && made.data.title === title, JSON.stringify(made));
  }
  const list = await send("items-list_items");
  const items = version === "v1" ? list.data : list.data.items;
  expect(items?.map((one) => one.title).join() === "one,two", JSON.stringify(list));
  await operation("items-list_items").scrollIntoViewIfNeeded();
  await shoot("list");
  check();
}

// An account with a second factor cannot use the form, which says so; its API key is entered instead.
async function secondFactor({ page, base, path, version, user, request, check }) {
  const ann = await user();
  const { secret } = await request("POST", "/auth/totp", { token: ann.token });
  const { key } = await request("POST", "/auth/keys", { token: ann.token, body: { name: "try", scopes: ["read"] } });
  const code = totp(secret, Math.floor(Date.now() / 30_000));
  await request("POST", "/auth/totp/confirm", { token: ann.token, body: { code } });
  await page.goto(base + path);
  const dialog = page.locator(".dialog-ux");
  await page.locator(".scheme-container").getByRole("button", { name: "Authorize" }).click();
  await dialog.getByText("An account with a second factor cannot log in here").waitFor();
  await dialog.getByLabel("username:").fill(ann.username);
  await dialog.getByLabel("password:").fill(PASSWORD);
  await dialog.getByRole("button", { name: "Apply given OAuth2 credentials" }).click();
  await dialog.locator(".errors").waitFor();
  await dialog.getByLabel("auth-bearer-value").fill(key);
  await dialog.getByRole("button", { name: "Apply credentials", exact: true }).click();
  await dialog.getByRole("button", { name: "Remove authorization" }).waitFor();
  await dialog.getByRole("button", { name: "Close" }).first().click();

  const found = page.locator('[id="operations-auth-get_me"]');
  await found.locator(".opblock-summary-control").click();
  await found.getByRole("button", { name: "Try it out" }).click();
  const answered = page.waitForResponse((one) => new URL(one.url()).pathname === `/api/${version}/auth/me`);
  await found.getByRole("button", { name: "Execute" }).click();
  const response = await answered;
  expect(response.status() === 200 && (await response.json()).username === ann.username, "the key logs in");
  check();
}

export const flows = { tryItOut, secondFactor };
