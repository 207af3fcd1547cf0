// A browser context for one flow: every page is checked for requests to other servers, violations of the policy and errors.

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");

export const PASSWORD = "correct horse battery staple";

// What a flow gets: {page, context, base, open, check, ...}.
export async function kitOf(browser, options) {
  const { base, scheme = "light", width = 1280, profile } = options;
  const context = await browser.newContext({
    colorScheme: scheme,
    viewport: { width, height: 800 },
    timezoneId: "America/New_York",
    storageState: profile ? JSON.parse(readFileSync(profile, "utf-8")) : undefined,
    acceptDownloads: true,
  });
  context.setDefaultTimeout(30_000);
  const faults = [];
  const requests = [];
  await context.addInitScript(() =>
    addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`)),
  );
  const origin = new URL(base).origin;
  context.on("request", (request) => {
    const url = new URL(request.url());
    requests.push(url.pathname + url.search);
    if (!["data:", "blob:"].includes(url.protocol) && url.origin !== origin) faults.push(`foreign: ${url}`);
  });
  const watch = (page) => {
    page.on("pageerror", (error) => faults.push(`error: ${error.stack}`));
    page.on("console", (message) => {
      const answered = /Failed to load resource: the server responded with a status of (4\d\d|503)/.test(message.text());
      if (["error", "warning"].includes(message.type()) && !answered && !/ERR_(CONNECTION|INCOMPLETE|EMPTY)/.test(message.text())) {
        faults.push(`console: ${message.text()}`);
      }
    });
    return page;
  };
  const page = watch(await context.newPage());
  const kit = { ...options, browser, context, page, base, faults, requests, watch };
  kit.open = (path, on = page) => on.goto(`${base}/console${path}`);
  // A flow ends with this: no fault of any page since the last one.
  kit.check = () => {
    if (faults.length) throw new Error(faults.join("\n"));
  };
  kit.axe = async (on = page) => {
    if (await on.evaluate(() => !window.axe)) await on.evaluate(AXE);
    const { violations, passes } = await on.evaluate(() => axe.run(document, { resultTypes: ["violations", "passes"] }));
    const found = violations.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html} ${node.failureSummary}`));
    if (found.length) throw new Error(`axe at ${on.url()}:\n${found.join("\n")}`);
    return passes.length;
  };
  kit.signIn = async (username, on = page) => {
    await on.getByLabel("Username").fill(username);
    await on.getByLabel("Password").fill(PASSWORD);
    await on.getByRole("button", { name: "Sign in" }).click();
    await on.getByRole("button", { name: "Sign out" }).waitFor();
  };
  // A body may be JSON already, and the answer stay a text: JavaScript rounds integers of 64 bits.
  kit.request = async (method, path, { body, token, headers, as = "json" } = {}) => {
    const response = await fetch(`${base}/api/v2${path}`, {
      method,
      headers: { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }), ...headers },
      body: typeof body === "string" ? body : body && JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${await response.text()}`);
    return response.status === 204 ? null : response[as]();
  };
  // A user of its own for a flow, over the API: {username, token}.
  kit.user = async (prefix = "user") => {
    const username = `${prefix}${Math.random().toString(36).slice(2, 10)}`;
    await kit.request("POST", "/auth/register", { body: { username, email: `${username}@example.org`, password: PASSWORD } });
    return { username, token: await kit.token(username) };
  };
  kit.token = async (username) =>
    (await kit.request("POST", "/auth/login", { body: { username, password: PASSWORD } })).access_token;
  kit.has = (text, on = page) => on.getByText(text).first().waitFor();
  return kit;
}

// The code of a second factor in a step of 30 seconds.
export function totp(secret, step) {
  const bits = [...secret].map((one) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(one).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((one) => parseInt(one, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const digest = createHmac("sha1", key).update(counter).digest();
  const number = digest.readUInt32BE(digest[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

export function expect(isTrue, text) {
  if (!isTrue) throw new Error(text);
}
