// The flows of the console, each in a browser context of its own.

import { PASSWORD, expect, totp } from "./kit.mjs";

const button = (page, name) => page.getByRole("button", { name, exact: true });

async function signIn({ page, open, user, signIn, has, check, axe }) {
  const ann = await user();
  await open("/items");
  await axe();
  await page.getByLabel("Username").fill(ann.username);
  await page.getByLabel("Password").fill("a wrong password");
  await button(page, "Sign in").click();
  await page.getByRole("alert").filter({ hasText: /password/i }).waitFor();
  await axe();
  await signIn(ann.username);
  await page.getByRole("heading", { name: "Items", level: 1 }).waitFor();
  await has("There are no items yet.");
  await axe();
  await button(page, "Sign out").click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  check();
}

async function register({ page, open, has, check, axe }) {
  const name = `new${Math.random().toString(36).slice(2, 10)}`;
  await open("");
  await button(page, "Create an account").click();
  await page.getByLabel("Username").fill(name);
  await page.getByLabel("Email").fill("not an address");
  await page.getByLabel("Password").fill(PASSWORD);
  await button(page, "Create the account").click();
  await page.getByRole("alert").waitFor();
  await axe();
  await page.getByLabel("Email").fill(`${name}@example.org`);
  await button(page, "Create the account").click();
  await has(`Hello, ${name}`);
  check();
}

async function secondFactor({ page, open, user, signIn, has, check, axe }) {
  const ann = await user();
  await open("/auth/me");
  await signIn(ann.username);
  await button(page, "Second factor").click();
  await button(page, "Set it up").click();
  const secret = await page.getByLabel("Secret").inputValue();
  await axe();
  const step = Math.floor(Date.now() / 30_000);
  await page.getByLabel("Code").fill("000000");
  await button(page, "Turn it on").click();
  await page.locator(".fault, .failure").first().waitFor();
  await page.getByLabel("Code").fill(totp(secret, step));
  await button(page, "Turn it on").click();
  await has("Keep these codes");
  await button(page, "I have kept them").click();
  await button(page, "Sign out").click();
  await page.getByLabel("Username").fill(ann.username);
  await page.getByLabel("Password").fill(PASSWORD);
  await button(page, "Sign in").click();
  await page.getByRole("heading", { name: "Second factor" }).waitFor();
  await axe();
  await page.getByLabel("Code").fill("000000");
  await button(page, "Sign in").click();
  await page.getByRole("alert").waitFor();
  await page.getByLabel("Code").fill(totp(secret, step + 1)); // A step works once, and clocks may differ by one.
  await button(page, "Sign in").click();
  await page.getByRole("heading", { name: "Account", level: 1 }).waitFor();
  check();
}

async function things({ page, open, user, signIn, has, check, axe }) {
  const ann = await user();
  await open("");
  await signIn(ann.username);
  await page.getByRole("link", { name: "Invoices" }).first().waitFor();
  await open("/invoices");
  await has("There are no invoices yet.");
  await button(page, "New invoice").click();
  await axe();
  await page.getByLabel("Number").fill("a b");
  await page.getByLabel("Customer").fill("Bo");
  await page.getByLabel("Cents").fill("many");
  await button(page, "Create").click();
  await has("must be a whole number");
  await page.getByLabel("Cents").fill("100");
  await button(page, "Create").click();
  await page.locator("#field-number-fault").waitFor();
  expect((await page.locator(":focus").getAttribute("id")) === "field-number", "the faulty field has the focus");
  await axe();
  await page.getByLabel("Number").fill("A-1");
  await page.getByLabel("Due").fill("2026-12-24");
  await button(page, "Create").click();
  await page.getByRole("heading", { name: "A-1", level: 1 }).waitFor();
  expect(/\/console\/invoices\/\d+$/.test(page.url()), page.url());
  await has("24 Dec 2026");
  await axe();

  await open("/invoices");
  await button(page, "New invoice").click();
  await page.getByLabel("Number").fill("A-1");
  await page.getByLabel("Customer").fill("Bo");
  await page.getByLabel("Cents").fill("1");
  await button(page, "Create").click();
  await page.locator("#field-number-fault").waitFor(); // 409: the number is taken.
  await page.keyboard.press("Escape");
  await page.getByRole("link", { name: "A-1" }).click();
  await page.getByRole("heading", { name: "A-1", level: 1 }).waitFor();

  await button(page, "Edit").click();
  await page.getByLabel("Cents").fill("250");
  await button(page, "Save").click();
  await has("Cents: 100 → 250");

  await button(page, "Pay").click();
  await page.getByRole("dialog").getByRole("button", { name: "Pay" }).click();
  await has("Paid: no → yes");
  await button(page, "Pay").click();
  await page.getByRole("dialog").getByRole("button", { name: "Pay" }).click();
  await has("The invoice is already paid.");
  await axe();
  await page.keyboard.press("Escape");

  await button(page, "Delete").click();
  await has("This invoice is deleted.");
  await axe();
  await button(page, "Undo").click();
  await has("A-1 is back.");
  await page.getByRole("heading", { name: "A-1", level: 1 }).waitFor();
  await button(page, "Delete").click();
  await has("This invoice is deleted.");
  await page.reload();
  await button(page, "Restore it").click();
  await page.getByRole("heading", { name: "A-1", level: 1 }).waitFor();
  check();
}

async function conflict({ page, open, user, signIn, request, has, check, axe }) {
  const ann = await user();
  const made = await request("POST", "/items", { token: ann.token, body: { title: "first" } });
  await open(`/items/${made.id}`);
  await signIn(ann.username);
  const change = async (title) => request("PATCH", `/items/${made.id}`, { token: ann.token, body: { title } });
  await button(page, "Edit").click();
  await change("theirs");
  await page.getByLabel("Title").fill("mine");
  await button(page, "Save").click();
  await has("This was changed meanwhile");
  await page.getByRole("dialog").getByText("theirs").waitFor();
  await axe();
  await button(page, "Save mine over it").click();
  await page.getByRole("heading", { name: "mine", level: 1 }).waitFor();

  await button(page, "Edit").click();
  await change("theirs again");
  await page.getByLabel("Title").fill("mine again");
  await button(page, "Save").click();
  await button(page, "Edit the new version").click();
  expect((await page.getByLabel("Title").inputValue()) === "theirs again", "the form has the new version");
  await button(page, "Cancel").click();

  await page.reload();
  await button(page, "Delete").waitFor();
  await change("changed before the deletion");
  await button(page, "Delete").click();
  await has("It was changed a moment ago.");
  await page.getByRole("heading", { name: "changed before the deletion" }).waitFor();
  check();
}

async function tables({ page, open, user, signIn, request, has, check, axe }) {
  const ann = await user();
  const requests = Array.from({ length: 60 }, (_, place) => ({
    method: "POST",
    path: "/invoices",
    body: { number: `N-${String(place).padStart(2, "0")}`, customer: place % 2 ? "Odd" : "Even", cents: place * 100 },
  }));
  await request("POST", "/batch", { token: ann.token, body: { requests } });
  await open("/invoices");
  await signIn(ann.username);
  await has("60 invoices");
  const numbers = () => page.locator("tbody tr td:nth-child(2)").allInnerTexts();
  expect((await numbers()).length === 50, "a page has 50 rows");
  await button(page, "Next").click();
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 10);
  expect(page.url().includes("after="), page.url());
  await axe();
  await button(page, "Previous").click();
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 50);

  await page.getByRole("columnheader", { name: "Cents" }).getByRole("button").click();
  await page.waitForFunction(() => document.querySelector("tbody tr td:nth-child(2)").innerText === "N-00");
  await page.locator('th[aria-sort="ascending"]', { hasText: "Cents" }).waitFor();

  await page.getByRole("searchbox").fill("odd");
  await has("30 invoices");
  await button(page, "Filter").click();
  await page.getByLabel("Field").selectOption("cents");
  await page.getByLabel("Condition").selectOption("lt");
  await page.getByLabel("Value").fill("500");
  await axe();
  await button(page, "Show").click();
  await has("2 invoices");
  expect(new URL(page.url()).searchParams.get("cents.lt") === "500", page.url());
  await page.reload(); // The address has everything.
  await has("2 invoices");
  await page.getByRole("searchbox").fill("nothing");
  await has("No invoices match.");
  await axe();
  await button(page, "Show all").click();
  await has("60 invoices");
  check();
}

async function timeTravel({ page, open, user, signIn, request, has, check, axe }) {
  const ann = await user();
  const made = await request("POST", "/items", { token: ann.token, body: { title: "as it was" } });
  await request("PATCH", `/items/${made.id}`, { token: ann.token, body: { title: "as it is" } });
  await request("POST", "/items", { token: ann.token, body: { title: "a later one" } });

  await open(`/items/${made.id}?at=${made.version}`); // A link that was shared.
  await signIn(ann.username);
  await page.getByRole("heading", { name: "as it was", level: 1 }).waitFor();
  await has("nothing can be changed");
  expect(!(await button(page, "Edit").count()), "the past cannot be edited");
  await axe();
  await page.getByRole("link", { name: "Items", exact: true }).first().click();
  await has("1 item");
  await page.getByText("as it was").waitFor();
  await button(page, "Back to now").click();
  await has("2 items");
  await page.getByText("as it is").waitFor();

  await button(page, "Time travel").click();
  const slider = page.getByRole("slider", { name: "Moment" });
  await slider.focus();
  await axe();
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowLeft");
  await page.waitForURL(/at=\d+/);
  expect(/event \d+ of \d+/.test(await slider.getAttribute("aria-valuetext")), "the slider speaks");
  expect(/\d{4}, \d\d:\d\d/.test(await slider.getAttribute("aria-valuetext")), "the slider has a time");
  await slider.fill(String(made.version));
  await page.getByText("as it was").waitFor();
  await page.getByText("as it was").click();
  await button(page, "Bring this version back").click();
  await has("again as it was");
  await button(page, "Back to now").click();
  await page.getByRole("heading", { name: "as it was", level: 1 }).waitFor();
  const time = page.locator("main time").first();
  expect(/UTC$/.test(await time.getAttribute("title")), "a time has UTC as its title");
  check();
}

async function ownChange({ page, context, open, user, signIn, has, check, axe }) {
  const ann = await user();
  await open("/items");
  await signIn(ann.username);
  const choose = async (name) => {
    if (await button(page, "Menu").isVisible()) await button(page, "Menu").click();
    await page.getByRole("navigation").getByRole("link", { name, exact: true }).click();
  };
  const create = async (title) => {
    await choose("Items");
    await page.getByRole("button", { name: /^(New|Create the first) item$/ }).first().click();
    await page.getByLabel("Title").fill(title);
    await button(page, "Create").click();
    await page.getByRole("heading", { name: title, level: 1 }).waitFor();
    await choose("Light"); // The page stays, and so does what it has written.
    await button(page, "Check now").click();
  };
  await create("one");
  await has("Your newest change here, event");
  await page.locator(".verdict.green").waitFor();
  await axe();
  let spoil = () => "nonsense";
  await context.route("**/auth/me/export**", async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: spoil(await answer.text()) });
  });
  await create("two");
  await page.locator(".verdict.amber").waitFor();
  spoil = (text) => text.replaceAll('"actor":"users/', '"actor":"users/9');
  await button(page, "Check now").click();
  await page.locator(".verdict.red").waitFor();
  await has("Your change is not in the log");
  await axe();
  check();
}

async function timeline({ page, open, auditor, signIn, user, request, has, check, axe }) {
  await open("/audit/events");
  await signIn(auditor);
  await has("● live");
  const first = () => page.locator("tbody tr td:nth-child(3)").first().innerText();
  const before = await first();
  const ann = await user();
  const made = await request("POST", "/items", { token: ann.token, body: { title: "sealed title" } });
  const waiting = page.getByRole("button", { name: /Show \d+ new events/ });
  await waiting.waitFor();
  expect((await first()) === before, "no row moves while events stream in");
  await axe();
  await page.getByRole("button", { name: "Show 3 new events" }).click();
  expect((await first()) === "item.created", "the newest event is first");
  await page.getByRole("searchbox", { name: /^Subject/ }).fill(`items/${made.id}`);
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
  await page.getByRole("link", { name: made.version.toLocaleString("en") }).click();
  await page.locator(".verdict.green").waitFor();
  await has("sealed title");
  await axe();
  await page.getByText("The line and its proof").click();
  await axe();
  check();
}

// Counts the formats of times that are made, and how often the page says how many events wait.
function countWork() {
  const { DateTimeFormat } = Intl;
  globalThis.work = { formats: 0, counts: 0 };
  Intl.DateTimeFormat = class extends DateTimeFormat {
    constructor(...given) {
      super(...given);
      globalThis.work.formats++;
    }
  };
  new MutationObserver((all) => {
    globalThis.work.counts += all.filter(({ target }) => target.parentElement?.closest(".waiting")).length;
  }).observe(document, { subtree: true, childList: true, characterData: true });
}

async function flood({ page, context, open, auditor, signIn, user, request, has, check, axe }) {
  const ann = await user();
  const requests = Array.from({ length: 60 }, () => ({ method: "POST", path: "/items", body: { title: "one of many" } }));
  await request("POST", "/batch", { token: ann.token, body: { requests } });
  await context.addInitScript(countWork);
  let [release, next] = [];
  const wait = () => (next = new Promise((resolve) => (release = resolve)));
  wait();
  await context.route(/audit\/events/, async (route) => {
    const headers = route.request().headers();
    if (headers.accept !== "text/event-stream") return route.continue();
    const count = await next;
    wait();
    const events = Array.from({ length: count }, (_, place) => {
      const id = String(Number(headers["last-event-id"]) + 1 + place);
      const event = { id, time: new Date().toISOString(), type: "item.created", subject: "items/1", actor: "users/1" };
      return `id: ${id}\nevent: item.created\ndata: ${JSON.stringify(event)}\n\n`;
    });
    return route.fulfill({ contentType: "text/event-stream", body: events.join("") });
  });
  const rows = (count) => page.waitForFunction((wanted) => document.querySelectorAll("tbody tr").length === wanted, count);
  await open("/audit/events");
  await signIn(auditor);
  await rows(50);
  release(600);
  await button(page, "Show 600 new events").click();
  await rows(650);
  release(600);
  await button(page, "Show 600 new events").click();
  await rows(1000);
  await button(page, "Earlier events").click();
  await rows(1050);
  release(5000);
  await button(page, "Show 1,000+ new events").waitFor();
  const work = await page.evaluate(() => globalThis.work);
  expect(work.counts < 1000, `the page has said ${work.counts} times how many of 6,200 events wait`);
  expect(work.formats < 20, `${work.formats} formats were made for 1,200 rows`);
  await page.getByRole("button", { name: /^Show/ }).click();
  await rows(50); // The newest ones, read again.
  await axe();
  check();
}

async function differences({ page, open, auditor, signIn, user, token, request, has, check, axe }) {
  const ann = await user();
  const { paths } = await request("GET", "/openapi.json");
  await open("/audit/diff");
  await signIn(auditor);
  if (!paths["/api/v2/audit/diff"]) {
    await has("This server cannot compare two moments.");
    return check();
  }
  const made = await request("POST", "/items", { token: ann.token, body: { title: "before" } });
  const now = await request("PATCH", `/items/${made.id}`, { token: await token(ann.username), body: { title: "after" } });
  await open(`/audit/diff?from=${made.version}&to=${now.version}&subject=items/${made.id}`);
  await page.getByRole("heading", { name: `items/${made.id} changed` }).waitFor();
  await page.getByText("before → after").waitFor();
  await axe();
  return check();
}

async function sharing({ page, open, user, signIn, request, has, check, axe }) {
  const [ann, ben] = [await user("ann"), await user("ben")];
  const made = await request("POST", "/todo_lists", { token: ann.token, body: { title: "Garden" } });
  const as = async ({ username }) => {
    await button(page, "Sign out").click();
    await signIn(username);
  };
  await open(`/todo_lists/${made.id}`);
  await signIn(ann.username);
  await button(page, "Share").click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("Only you can see this.").waitFor();
  await axe();
  await dialog.getByLabel("Username").fill("nobody-at-all");
  await dialog.getByRole("button", { name: "Share" }).click();
  await dialog.getByRole("alert").waitFor();
  await dialog.getByLabel("Username").fill(ben.username);
  await dialog.getByRole("button", { name: "Share" }).click();
  await dialog.getByText(`${ben.username} can read`).waitFor();
  await axe();
  await button(page, "Done").click();

  await as(ben);
  await open("/todo_lists");
  await page.getByRole("columnheader", { name: "Owner" }).waitFor();
  await page.getByRole("link", { name: "Garden" }).click();
  await page.getByRole("heading", { name: "Garden", level: 1 }).waitFor();
  expect(!(await button(page, "Share").count()), "only the owner shares");
  const changes = ["Edit", "Delete", "Add", "Tick"];
  const shown = async () => (await Promise.all(changes.map((name) => button(page, name).count()))).join();
  expect((await shown()) === "0,0,0,0", "a reader is offered no change");
  await axe();
  await open(`/todo_lists/${made.id}?at=${made.version}`);
  await page.getByText("nothing can be changed here").waitFor();
  expect(!(await button(page, "Bring this version back").count()), "a reader brings no version back");
  await request("DELETE", `/todo_lists/${made.id}`, { token: ann.token });
  await open(`/todo_lists/${made.id}`);
  await has("This todo list is deleted.");
  expect(!(await button(page, "Restore it").count()), "a reader restores nothing");
  await request("POST", `/todo_lists/${made.id}/restore`, { token: ann.token, body: {} });
  await request("PUT", `/todo_lists/${made.id}/shares/${ben.username}`, { token: ann.token, body: { can: "write" } });
  await open(`/todo_lists/${made.id}?at=${made.version}`);
  await button(page, "Bring this version back").waitFor();
  await open(`/todo_lists/${made.id}`);
  await button(page, "Edit").waitFor();
  expect((await shown()) === "1,1,1,1", "a writer is offered every change");
  await button(page, "Edit").click();
  await page.getByLabel("Title").fill("Orchard");
  await button(page, "Save").click();
  await page.getByRole("heading", { name: "Orchard", level: 1 }).waitFor();

  await as(ann);
  await button(page, "Share").click();
  await dialog.getByText(`${ben.username} can write`).waitFor();
  await button(page, `Stop sharing with ${ben.username}`).click();
  await dialog.getByText("Only you can see this.").waitFor();
  await button(page, "Done").click();
  await as(ben);
  await has("There is no such todo list");
  await open("/todo_lists");
  await has("There are no todo lists yet.");
  check();
}

async function deliveries({ page, open, operator, signIn, user, token, request, has, check, axe }) {
  const otto = await token(operator);
  // No name below it exists (RFC 2606).
  const made = await request("POST", "/webhooks", { token: otto, body: { url: "https://hooks.invalid/deliveries" } });
  await user();
  await open("/webhooks");
  await signIn(operator);
  const row = page.getByRole("row").filter({ has: page.getByRole("link", { name: made.url }) });
  for (let tries = 0; !(await row.getByText("failing since").count()); tries++) {
    expect(tries < 30, "a failed delivery is shown");
    await page.waitForTimeout(500);
    await page.reload();
    await row.waitFor();
  }
  await axe();
  await row.getByRole("link", { name: made.url }).click();
  await has("Failing at");
  await page.getByText(/event [\d,]+, [\d,]+ behind/).waitFor();
  await axe();
  await button(page, "Deliver again").click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("After").fill("999999999");
  await dialog.getByRole("button", { name: "Deliver again" }).click();
  await dialog.locator(".fault, .failure").first().waitFor();
  await axe();
  await dialog.getByLabel("After").fill("1");
  await dialog.getByRole("button", { name: "Deliver again" }).click();
  await page.getByText(/event 1, [\d,]+ behind/).waitFor();
  await button(page, "New secret").click();
  const secret = page.getByRole("textbox", { name: "New secret" });
  await secret.waitFor();
  expect((await secret.inputValue()).startsWith("whsec_"), "the new secret is shown once");
  await axe();
  await button(page, "Delete…").click();
  await dialog.getByRole("button", { name: "Delete" }).click();
  await has("The webhook is deleted.");
  check();
}

// Which event a failing webhook is tried with: an auditor can open it.
async function failing({ page, open, operator, auditor, signIn, user, token, request, has, check, axe }) {
  const otto = await token(operator);
  const { token: ann } = await user();
  const body = { url: "https://hooks.invalid/failing", types: ["gauge.*"] };
  const made = await request("POST", "/webhooks", { token: otto, body });
  await request("POST", "/items", { token: ann, body: { title: "not wanted" } });
  const wanted = await request("POST", "/gauges", { token: ann, body: { name: "wanted" } });
  let state = made;
  for (let tries = 0; !state.failing_since; tries++) {
    expect(tries < 60, "the delivery fails");
    await page.waitForTimeout(500);
    state = await request("GET", `/webhooks/${made.id}`, { token: otto });
  }
  await open(`/webhooks/${made.id}`);
  await signIn(operator);
  await has(`the first that it wants after event ${state.position.toLocaleString("en")}`);
  expect(!(await page.locator("main dd a").count()), "an operator who is no auditor cannot open events");
  await axe();
  await button(page, "Sign out").click();
  await signIn(auditor);
  const event = page.getByRole("link", { name: `event ${wanted.version.toLocaleString("en")}`, exact: true });
  await event.waitFor();
  await has(/gauge\.created, since \d+ \w+ \d{4}/);
  await page.getByRole("link", { name: `event ${state.position.toLocaleString("en")}`, exact: true }).waitFor();
  await axe();
  await event.click();
  await page.getByRole("heading", { name: `Event ${wanted.version.toLocaleString("en")}`, level: 1 }).waitFor();
  await request("DELETE", `/webhooks/${made.id}`, { token: otto });
  check();
}

async function operator({ page, open, operator, signIn, user, has, check, axe }) {
  const ann = await user();
  await open("/users");
  await signIn(operator);
  await page.getByRole("searchbox").fill(ann.username);
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
  await axe();
  await page.getByRole("link", { name: ann.username }).click();
  await page.getByLabel("auditor").check();
  await button(page, "Save the roles").click();
  await has(`The roles of ${ann.username} are saved.`);
  await button(page, "Make a link to reset the password").click();
  expect(/\/reset-password\?token=/.test(await page.getByLabel("Link").inputValue()), "there is a link");
  await axe();
  await button(page, "Disable").click();
  await button(page, "Enable").click();
  await button(page, "Disable").waitFor();

  await open("/users");
  await button(page, "New user").click();
  const name = `made${Math.random().toString(36).slice(2, 8)}`;
  await page.getByLabel("Username").fill(name);
  await page.getByLabel("Email").fill(ann.username + "@example.org");
  await button(page, "Create").click();
  await page.getByRole("dialog").locator(".fault, .failure").first().waitFor();
  await axe();
  await page.getByLabel("Email").fill(`${name}@example.org`);
  await button(page, "Create").click();
  await page.getByRole("heading", { name, level: 1 }).waitFor();
  await button(page, "Erase…").click();
  expect(await button(page, "Erase for ever").isDisabled(), "an erasure needs the name");
  await page.getByLabel("Type the username to go on").fill(name);
  await axe();
  await button(page, "Erase for ever").click();
  await has(`${name} is erased.`);

  await open("/webhooks");
  await button(page, "New webhook").click();
  await page.getByLabel("Url").fill("https://hooks.invalid/a");
  await page.getByLabel("Types").fill("item.*\nuser.erased");
  await axe();
  await button(page, "Create").click();
  expect((await page.getByRole("textbox", { name: "Secret" }).inputValue()).startsWith("whsec_"), "the secret is shown once");
  await button(page, "Done").click();
  await has("item.*, user.erased");
  await button(page, "Send a test").click();
  await has("The test failed");
  await button(page, "Disable").click();
  await button(page, "Enable").waitFor();
  await axe();
  await open("/health");
  await has("free where the log is");
  await axe();

  await open("/auth/me");
  await button(page, "New key").click();
  const key = `nightly ${name}`;
  await page.getByLabel("Name").fill(key);
  await page.getByLabel("read").check();
  await button(page, "Create").click();
  expect((await page.getByRole("textbox", { name: "Key", exact: true }).inputValue()).startsWith("eak_"), "the key is shown once");
  await axe();
  await button(page, "Done").click();
  await button(page, `Revoke ${key}`).click();
  await button(page, `Revoke ${key}`).waitFor({ state: "detached" });
  await axe();
  check();
}

async function mailedLinks({ page, base, operator, user, token, request, has, check, axe }) {
  const ann = await user();
  const otto = await token(operator);
  const { items } = await request("GET", `/users?q=${ann.username}`, { token: otto });
  const made = await request("POST", `/users/${items[0].id}/password-reset`, { token: otto, body: { link: true } });
  const link = new URL(made.link);
  await page.goto(base + link.pathname + link.search);
  await page.getByLabel("New password").fill("short");
  expect(!page.url().includes("token"), "the token leaves the address bar");
  await button(page, "Set the password").click();
  await page.getByRole("alert").waitFor();
  await axe();
  await page.getByLabel("New password").fill("another horse battery");
  await button(page, "Set the password").click();
  await has("Your password is set");
  await axe();
  await request("POST", "/auth/login", { body: { username: ann.username, password: "another horse battery" } });
  await page.goto(`${base}/verify-email?token=nonsense`);
  await has("The link does not work");
  await axe();
  check();
}

// What another tab has stored arrives late, as it may on a busy machine.
function delayStorage() {
  const { getItem, setItem, removeItem } = Storage.prototype;
  const seen = { ...localStorage };
  Storage.prototype.getItem = (key) => seen[key] ?? null;
  Storage.prototype.setItem = function (key, value) {
    seen[key] = value;
    setItem.call(this, key, value);
  };
  Storage.prototype.removeItem = function (key) {
    delete seen[key];
    removeItem.call(this, key);
  };
  addEventListener("storage", (event) => {
    if (!event.isTrusted) return;
    event.stopImmediatePropagation();
    setTimeout(() => {
      seen[event.key] = getItem.call(localStorage, event.key);
      dispatchEvent(new StorageEvent("storage", { key: event.key }));
    }, 1_000);
  });
}

async function tabs({ page, context, base, watch, open, user, signIn, requests, has, check }) {
  await context.addInitScript(delayStorage);
  const ann = await user();
  await open("/items");
  await signIn(ann.username);
  const other = watch(await context.newPage());
  await open("/items", other);
  await button(other, "Sign out").waitFor();
  const spoil = () =>
    page.evaluate(() => {
      const key = Object.keys(localStorage).find((one) => one.startsWith("eventapi.session"));
      const kept = JSON.parse(localStorage.getItem(key));
      const access = `${kept.access.slice(0, -4)}AAAA`;
      localStorage.setItem(key, JSON.stringify({ ...kept, access }));
      return `${key} renewed ${access}`;
    });
  const renewals = () => requests.filter((one) => one.endsWith("/auth/refresh")).length;
  // Not while a console is open, whose requests would renew, too.
  const spoilWithoutTabs = async () => {
    await Promise.all([page, other].map((one) => one.goto(`${base}/health`)));
    return spoil();
  };
  const reopen = async (one) => {
    await open("/items", one);
    await button(one, "Sign out").waitFor();
  };
  await spoilWithoutTabs();
  await Promise.all([reopen(page), reopen(other)]);
  expect(renewals() === 1, `two tabs renewed ${renewals()} times`);
  await spoilWithoutTabs();
  await reopen(other);
  await reopen(page);
  expect(renewals() === 2, `two tabs renewed ${renewals()} times`);
  // A tab whose new tokens never come: the others give up, and send no spent token. Once it is gone, they renew.
  const mark = await spoilWithoutTabs();
  await other.evaluate((name) => new Promise((held) => navigator.locks.request(name, () => new Promise(() => held()))), mark);
  await open("/items");
  await has("cannot be reached");
  expect(renewals() === 2, `a spent token was sent: ${renewals()} renewals`);
  await other.goto(`${base}/health`);
  await reopen(page);
  expect(renewals() === 3, `${renewals()} renewals, and not a third one`);
  await reopen(other);
  await button(other, "Sign out").click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  check();
}

// The session ends, or the connection, while a person works.
async function interrupted({ page, context, open, user, signIn, request, has, check, axe }) {
  const ann = await user();
  await open("/invoices");
  await signIn(ann.username);
  await button(page, "New invoice").click();
  expect((await page.locator(":focus").getAttribute("id")) === "field-number", "the first field has the focus");
  await button(page, "Create").click();
  await page.locator("#field-cents-fault", { hasText: "is required" }).waitFor();
  await page.route("**/api/v2/invoices", (route) =>
    route.fulfill({ status: 409, contentType: "application/problem+json", body: '{"detail": "there is no room."}' }),
  );
  await button(page, "Create").click();
  await page.getByText("There is no room.", { exact: true }).waitFor();
  await page.unroute("**/api/v2/invoices");
  const access = await page.evaluate(() => JSON.parse(localStorage["eventapi.session /"]).access);
  await request("POST", "/auth/logout", { token: access });
  await button(page, "Create").click();
  await page.getByRole("alert").filter({ hasText: "Your session has ended." }).waitFor();
  await axe();
  await signIn(ann.username);
  await page.getByRole("heading", { name: "Invoices", level: 1 }).waitFor();
  await context.route("**/auth/logout", (route) => route.abort("connectionrefused"));
  await button(page, "Sign out").click();
  await has("The server cannot be reached.");
  await context.unroute("**/auth/logout");
  await button(page, "Sign out").click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  expect(!(await page.getByText("Your session has ended.").count()), "it was ended by the person");
  check();
}

async function rights({ page, context, open, user, signIn, has, check, axe }) {
  const ann = await user();
  await open("/audit/events");
  await signIn(ann.username);
  await has("Only auditors may do this.");
  const menu = page.getByRole("navigation");
  for (const name of ["Timeline", "Users", "Webhooks"]) expect(!(await menu.getByText(name).count()), name);
  await axe();
  await open("/nothing/at/all");
  await has("There is no such page");
  await axe();
  await open("/items/999999");
  await has("There is no such item");
  await axe();
  await open("/log");
  await button(page, "Check everything about me").click();
  await has(/All \d+ events about you/);
  await axe();
  const spoiled = async (change) => {
    await context.unroute("**/auth/me/export");
    await context.route("**/auth/me/export", async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, body: change(await answer.text()) });
    });
    await button(page, "Check everything about me").click();
  };
  const withoutProofs = (text) => text.replaceAll(/"proof":"(\\.|[^"\\])*"/g, '"proof":null');
  // A line after those of the checkpoint, and nothing else.
  const newer = '{"record":{"id":"999999999"},"personal":null,"proof":null}\n';
  await spoiled((text) => text.replace(/^.*\n/, withoutProofs)); // One old line alone.
  await has(/event \d+ has no proof, although it is signed/);
  await spoiled((text) => text + newer);
  await has(/All \d+ signed events about you.* Not signed yet: 1\./);
  await spoiled(() => newer);
  await has("Nothing could be checked. Not signed yet: 1.");
  await spoiled(withoutProofs);
  await has(/event \d+ has no proof, although it is signed/);
  check();
}

async function keyboard({ page, open, user, signIn, request, check }) {
  const ann = await user();
  await request("POST", "/items", { token: ann.token, body: { title: "reached by keys" } });
  await open("/items");
  await page.getByLabel("Username").focus();
  await page.keyboard.type(ann.username);
  await page.keyboard.press("Tab");
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Items", level: 1 }).waitFor();
  const reach = async (name) => {
    for (let tries = 0; tries < 60; tries++) {
      const here = await page.evaluate(() => document.activeElement.innerText?.trim());
      if (here === name) {
        const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
        expect(outline === "solid", `${name} shows no focus`);
        return;
      }
      await page.keyboard.press("Tab");
    }
    throw new Error(`${name} cannot be reached with Tab`);
  };
  await page.locator("tbody tr").waitFor();
  await reach("reached by keys");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "reached by keys" }).waitFor();
  await reach("Edit");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  expect((await page.evaluate(() => document.activeElement.innerText)) === "Edit", "the focus returns");
  check();
}

async function firstPage({ page, open, requests, check }) {
  let bytes = 0;
  const client = await page.context().newCDPSession(page);
  await client.send("Network.enable");
  client.on("Network.loadingFinished", (event) => (bytes += event.encodedDataLength));
  await open("");
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await page.waitForLoadState("networkidle");
  check();
  return { bytes, requests: requests.length };
}

// A page that breaks the policy must not go unnoticed.
async function controls({ page, context, open, faults, base }) {
  await open("");
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.setAttribute("src", "data:text/javascript,1");
    document.body.append(script);
  }).catch(() => {});
  await page.evaluate(() => fetch("http://127.0.0.1:1/elsewhere")).catch(() => {});
  await page.evaluate(() => document.body.setAttribute("style", "color: red"));
  await page.waitForTimeout(200);
  return faults.length;
}

// A promise of this flow fails when its context is closed.
async function failsLater({ context }) {
  context.on("close", () => Promise.reject(new Error("too late")));
}

// A promise of this flow fails, and the flow does not wait for it.
async function failsUnnoticed() {
  Promise.reject(new Error("unnoticed"));
}

export const flows = {
  signIn, register, secondFactor, things, conflict, tables, timeTravel, timeline, flood, differences, sharing, ownChange, deliveries, failing, operator, mailedLinks, tabs, interrupted, rights, keyboard, firstPage, controls, failsLater, failsUnnoticed,
};
