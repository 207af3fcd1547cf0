// Visits of one browser to servers, some of which lie. What the browser keeps lies in a file between the visits.

import { json } from "node:stream/consumers";
import { expect } from "./kit.mjs";

async function shown({ page, open }, state) {
  await open("/");
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await page.locator(`.light.${state}`).waitFor();
  return page.locator(".light").innerText();
}

// Visit, and wait for a state of the light. Returns the whole verdict.
async function visit(kit) {
  const { page, context, profile, save, state, check, axe } = kit;
  await shown(kit, state);
  const verdict = await page.evaluate(() => {
    const key = Object.keys(localStorage).find((one) => one.startsWith("eventapi.light"));
    return JSON.parse(localStorage.getItem(key));
  });
  await axe();
  if (save) await context.storageState({ path: save || profile });
  check();
  return verdict;
}

// With a red light: what the page says, both checkpoints as a file, and what happens after it is believed.
async function contradiction(kit) {
  const { page, open, user, signIn, axe, check } = kit;
  await shown(kit, "red"); // Before another event: a fork is one only while the sizes are equal.
  const ann = await user();
  await signIn(ann.username);
  await open("/log");
  await page.locator(".verdict.red").waitFor();
  const text = await page.locator(".verdict.red").innerText();
  await axe();
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Save both checkpoints" }).click(),
  ]);
  const saved = await json(await file.createReadStream());
  await page.reload();
  await page.locator(".verdict.red").waitFor();
  await page.getByRole("button", { name: /trust what is shown now/ }).click();
  await page.locator(".verdict.green").waitFor();
  check();
  return { text, saved };
}

// A server whose answers are changed on their way.
async function changed(kit) {
  const { page, context, base, state, path, from, to, status = 200, open } = kit;
  await context.route(`${base}/api/v2${path}`, async (route) => {
    const answer = await route.fetch();
    const text = (await answer.text()).replace(new RegExp(from), to);
    await route.fulfill({ response: answer, status, body: text });
  });
  await open("/");
  await page.locator(`.light.${state}`).waitFor();
  return page.locator(".light").innerText();
}

// A browser without WebCrypto, as of a page without TLS.
async function withoutCrypto(kit) {
  await kit.context.addInitScript(() => Object.defineProperty(crypto, "subtle", { value: undefined }));
  const text = await shown(kit, "amber");
  kit.check();
  return text;
}

// A red light goes away only when a person decides, also if the server shows the old log again.
async function sticky(kit) {
  const { page, context, base, open } = kit;
  let isLying = true;
  await context.route(`${base}/api/v2/log/key`, async (route) => {
    const answer = await route.fetch();
    if (!isLying) return route.fulfill({ response: answer });
    return route.fulfill({ response: answer, body: kit.key });
  });
  await shown(kit, "red");
  isLying = false;
  await open("/");
  await page.locator(".light.red").waitFor();
  expect((await page.locator(".light").innerText()).includes("The key was replaced"), "it still says why");
}

export const flows = { visit, contradiction, changed, withoutCrypto, sticky };
