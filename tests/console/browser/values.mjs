// Values at the limits of what JavaScript can hold: what the console shows and sends is what the server has.

import { PASSWORD, expect } from "./kit.mjs";

const button = (page, name) => page.getByRole("button", { name, exact: true });

const BIG = "9007199254740993"; // 2^53 + 1: a number of JavaScript would be one less.
const BIGGER = "9007199254740995";

const GAUGE = `{"name": "big", "total": ${BIG}, "level": 1e300, "numbers": [${BIG}], "limits": {"most": -${BIG}},
  "span": {"low": -${BIG}, "high": ${BIG}}}`;

async function integers({ page, open, user, signIn, request, has, check, axe }) {
  const { token, username } = await user();
  const made = await request("POST", "/gauges", { token, body: GAUGE });
  await open("/gauges");
  await signIn(username);
  await has("1 gauge");
  const row = page.locator("tbody tr");
  for (const text of [`[${BIG}]`, `{"most":-${BIG}}`, `{"low":-${BIG},"high":${BIG}}`, "9,007,199,254,740,993"]) {
    await row.getByText(text, { exact: true }).waitFor();
  }
  await row.getByRole("link", { name: "big" }).click();
  await page.getByRole("heading", { name: "big", level: 1 }).waitFor();
  await has(`[${BIG}]`);

  await button(page, "Edit").click();
  expect((await page.getByLabel("Numbers").inputValue()).includes(BIG), "the form has every digit");
  await request("PATCH", `/gauges/${made.id}`, { token, body: `{"total": ${BIGGER}, "numbers": [${BIGGER}]}` });
  await page.getByLabel("Name").fill("renamed");
  await button(page, "Save").click();
  await has("This was changed meanwhile");
  await page.getByRole("dialog").getByText("9,007,199,254,740,995").waitFor();
  await page.getByRole("dialog").getByText(`[${BIGGER}]`).waitFor();
  await axe();
  await button(page, "Save mine over it").click();
  await page.getByRole("heading", { name: "renamed", level: 1 }).waitFor();
  const text = await request("GET", `/gauges/${made.id}`, { token, as: "text" });
  expect(text.includes(`"numbers":[${BIGGER}]`) && text.includes(`"high":${BIG}`), text);

  await request("PATCH", `/gauges/${made.id}`, { token, body: { numbers: [] } });
  await page.reload(); // Its history still has them.
  await has(`Numbers: [${BIG}] → [${BIGGER}]`);
  check();
}

async function typed({ page, open, user, signIn, request, has, check }) {
  const { token, username } = await user();
  await open("/gauges");
  await signIn(username);
  await button(page, "New gauge").click();
  await page.getByLabel("Name").fill("typed");
  await page.getByLabel("Total").fill(BIG);
  await page.getByLabel("Numbers").fill(`[1, ${BIG}, -${BIGGER}]`);
  await page.getByLabel("Limits").fill(`{"most": ${BIG}`);
  await button(page, "Create").click();
  await has("must be JSON");
  await page.getByLabel("Limits").fill(`{"most": ${BIG}}`);
  await button(page, "Create").click();
  await page.getByRole("heading", { name: "typed", level: 1 }).waitFor();
  const text = await request("GET", "/gauges", { token, as: "text" });
  for (const part of [`"total":${BIG}`, `"numbers":[1,${BIG},-${BIGGER}]`, `"limits":{"most":${BIG}}`]) expect(text.includes(part), text);
  check();
}

// The page of an event shows the bytes that it has checked, and their values with every digit.
async function lines({ page, context, open, auditor, user, token, signIn, request, has, check, axe }) {
  const made = await request("POST", "/gauges", {
    token: (await user()).token,
    body: `{"name": "big", "numbers": [${BIG}], "counter": [${BIG}]}`,
  });
  const path = `/audit/events/${made.version}`;
  const text = await request("GET", path, { token: await token(auditor), as: "text" });
  const line = text.slice('{"record":'.length, text.indexOf(',"personal":'));
  expect(line.includes(`[${BIG}]`), line);
  await open(path);
  await signIn(auditor);
  await page.locator(".verdict.green").waitFor();
  expect((await page.locator("dd", { hasText: `[${BIG}]` }).count()) === 2, "the values in the clear and sealed ones have every digit");
  await page.getByText("The line and its proof").click();
  expect((await page.locator("details pre").first().textContent()) === line, "the line is shown as it is");
  await axe();

  // A second member of the same name was not checked, although a parser of JSON takes it.
  const other = line.replace(/"type":"[^"]*"/, '"type":"gauge.invented"');
  await context.route(`**/api/v2${path}`, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: (await answer.text()).replace(',"personal":', `,"record":${other},"personal":`) });
  });
  await page.reload();
  await page.locator(".verdict.green").waitFor();
  expect(!(await page.getByText("gauge.invented").count()), "only what was checked is shown");
  await has("gauge.created");
  check();
}

// Of an event, the reason is shown beside the values, or alone. Fields may have the names of a line's members.
async function sealed({ page, open, auditor, user, signIn, request, has, check, axe }) {
  const { token } = await user();
  const made = await request("POST", "/meetings", {
    token,
    headers: { "Change-Reason": "planned for May" },
    body: { title: "a meeting", clear: "was sealed", sealed: "was in the clear" },
  });
  await request("DELETE", `/meetings/${made.id}`, { token, headers: { "Change-Reason": "it rained" } });
  const [, deleted] = await request("GET", `/meetings/${made.id}/history`, { token });
  await request("POST", "/auth/password", { token, body: { current_password: PASSWORD, new_password: "another battery staple" } });
  const { items } = await request("GET", "/auth/me/events?limit=1", { token });
  await open(`/audit/events/${made.version}`);
  await signIn(auditor);
  for (const text of ["“planned for May”", "was sealed", "was in the clear"]) await page.getByText(text, { exact: true }).waitFor();
  await open(`/audit/events/${deleted.position}`);
  await has("“it rained”");
  await axe();
  await open(`/audit/events/${items[0].position}`);
  await has("It is a secret");
  await axe();
  expect(!(await page.getByText("Its key was destroyed").count()), "its key is there");
  check();
}

// A check box has two states, and a value that may be missing has three.
async function flags({ page, open, user, signIn, request, has, check, axe }) {
  const { token, username } = await user();
  const made = await request("POST", "/gauges", { token, body: { name: "flagged" } });
  await open(`/gauges/${made.id}`);
  await signIn(username);
  const choice = page.getByRole("combobox", { name: /^Flag/ });
  for (const [word, value] of [["no", false], ["yes", true], ["", null]]) {
    await button(page, "Edit").click();
    await choice.selectOption(String(value ?? ""));
    expect((await choice.locator("option:checked").innerText()) === word, `it is called ${word}`);
    await axe();
    await button(page, "Save").click();
    await page.getByRole("dialog").waitFor({ state: "detached" });
    const now = await request("GET", `/gauges/${made.id}`, { token });
    expect(now.flag === value, JSON.stringify(now));
  }
  await open("/gauges?flag.eq=false");
  await has("Flag is no");
  check();
}

async function shown({ page, open, user, signIn, request, has, check }) {
  const { token, username } = await user();
  const made = await request("POST", "/gauges", { token, body: { name: "small", level: 1.00001, day: "0050-03-01", moment: "0050-03-01T12:00:00Z" } });
  await open("/gauges");
  await signIn(username);
  const row = page.locator("tbody tr");
  for (const text of ["1.00001", "1 Mar 0050"]) await row.getByText(text, { exact: true }).waitFor();
  await row.getByTitle("1 Mar 0050, 12:00:00 UTC").waitFor();
  await request("PATCH", `/gauges/${made.id}`, { token, body: { level: 1.00002 } });
  await request("PATCH", `/gauges/${made.id}`, { token, body: { level: 0.0004 } });
  await open(`/gauges/${made.id}`);
  await has("Level: 1.00001 → 1.00002");
  await has("Level: 1.00002 → 0.0004");
  check();
}

// Fields may have the names of the console's own parameters.
async function names({ page, open, user, signIn, request, has, check, axe }) {
  const { token, username } = await user();
  const create = (body) => request("POST", "/meetings", { token, body });
  await create({ title: "one", at: 5, q: "wanted", sort: "title" });
  const made = await create({ title: "two", at: 6, q: "other", after: "three" });
  await create({ title: "later", at: 5 });
  await open(`/meetings?at=${made.version}`);
  await signIn(username);
  await has("2 meetings");
  await button(page, "Filter").click();
  await page.getByLabel("Field").selectOption("at");
  await page.getByLabel("Value").fill("5");
  await axe();
  await button(page, "Show").click();
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
  await has("At is 5");
  const parameters = () => Object.fromEntries(new URL(page.url()).searchParams);
  expect(parameters()["at.eq"] === "5" && parameters().at === String(made.version), page.url());
  await page.getByRole("slider", { name: "Moment" }).fill(String(made.version - 1));
  await page.waitForURL(new RegExp(`at=${made.version - 1}`));
  await has("At is 5");
  await page.getByRole("link", { name: "one" }).waitFor();
  await button(page, "Back to now").click();
  await has("2 meetings");
  await page.getByRole("columnheader", { name: "Sort" }).getByRole("button").click();
  await page.locator('th[aria-sort="ascending"]', { hasText: "Sort" }).waitFor();
  await button(page, "Remove the filter At").click();
  await has("3 meetings");

  await open("/meetings?q.eq=wanted");
  await has("1 meeting");
  await has("Q is wanted");
  await open("/meetings?q=later");
  await has("1 meeting");
  expect(!(await page.locator(".chip").count()), "a search is no filter");
  await open("/meetings?title=two&after.ne=none"); // As older links have it.
  await has("1 meeting");
  await has("Title is two");
  await page.getByRole("searchbox").fill("nothing");
  await button(page, "Show all").click();
  await has("3 meetings");
  check();
}

// A filter for one of several values, which are typed or chosen, and columns that give no order.
async function several({ page, open, user, signIn, request, has, check, axe }) {
  const { token, username } = await user();
  const gauges = [
    { name: "first", moment: "2026-12-24T15:00:00Z", state: "open", total: 1 },
    { name: "second", moment: "2026-12-25T15:00:05Z", state: "closed", total: 2 },
    { name: "third", moment: "2026-12-26T15:00:00Z", state: "stuck", total: 3 },
  ];
  for (const body of gauges) await request("POST", "/gauges", { token, body });
  await open("/gauges");
  await signIn(username);
  const cases = [
    ["moment", "2026-12-24 10:00, 2026-12-25T10:00:05", "Moment is one of 24 Dec 2026, 10:00:00 or 25 Dec 2026, 10:00:05"],
    ["moment", "2026-12-24T15:00:00.000000Z,2026-12-25T16:00:05+01:00", "Moment is one of 24 Dec 2026, 10:00:00 or 25 Dec 2026, 10:00:05"],
    ["state", ["open", "closed"], "State is one of closed or open"],
    ["total", "1, 2", "Total is one of 1 or 2"],
  ];
  for (const [field, values, words] of cases) {
    await has("3 gauges");
    await button(page, "Filter").click();
    await page.getByLabel("Field").selectOption(field);
    await page.getByLabel("Condition").selectOption("in");
    const value = page.getByLabel("Value");
    if (Array.isArray(values)) await value.selectOption(values);
    else await value.fill(values);
    await axe();
    await button(page, "Show").click();
    await has("2 gauges");
    await has(words);
    await page.reload(); // The address has everything.
    await has("2 gauges");
    await page.locator(".chip").getByRole("button").click();
  }
  await button(page, "Filter").click();
  await page.getByLabel("Field").selectOption("moment");
  await page.getByLabel("Condition").selectOption("in");
  await page.getByLabel("Value").fill("tomorrow");
  await button(page, "Show").click();
  await has("must be an RFC 3339 time");
  await open("/gauges");
  await has("3 gauges");
  for (const name of ["State", "Key"]) {
    expect(!(await page.getByRole("columnheader", { name }).getByRole("button").count()), `${name} gives no order`);
  }
  await page.getByRole("columnheader", { name: "Flag" }).getByRole("button").click();
  await page.locator('th[aria-sort="ascending"]', { hasText: "Flag" }).waitFor();
  await has("3 gauges");
  check();
}

// An edit changes what the person changed alone: also in objects, in texts of several lines, and beside another change.
async function objects({ page, open, user, signIn, request, has, check }) {
  const { token, username } = await user();
  const body = `{"name": "objects", "total": ${BIG}, "limits": {"most": 5, "least": 1},
    "remarks": ["two\\nlines", " indented"], "place": "hall\\nroom 2", "moment": "2026-12-24T15:00:00.123456Z"}`;
  const made = await request("POST", "/gauges", { token, body });
  const read = () => request("GET", `/gauges/${made.id}`, { token, as: "text" });
  await open(`/gauges/${made.id}`);
  await signIn(username);
  await button(page, "Edit").click();
  await page.getByLabel("Limits").fill('{"least": 2}');
  await request("PATCH", `/gauges/${made.id}`, { token, body: { state: "open" } });
  await button(page, "Save").click();
  await has("This was changed meanwhile");
  await button(page, "Save mine over it").click();
  await has('Limits: {"most":5,"least":1} → {"least":2}');
  const text = await read();
  const kept = ['"limits":{"least":2}', `"total":${BIG}`, '"state":"open"', '"moment":"2026-12-24T15:00:00.123456Z"'];
  for (const part of kept) expect(text.includes(part), text);
  await button(page, "Edit").click();
  await page.getByLabel("Remarks").fill((await page.getByLabel("Remarks").inputValue()).replace("[", '["first",'));
  await page.getByLabel("Place").fill(`${await page.getByLabel("Place").inputValue()}0`);
  await button(page, "Save").click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  const then = await read();
  for (const part of ['"remarks":["first","two\\nlines"," indented"]', '"place":"hall\\nroom 20"']) expect(then.includes(part), then);
  check();
}

export const flows = { integers, typed, lines, sealed, flags, shown, names, several, objects };
