// Values at the limits of what JavaScript can hold: what the console shows and sends is what the server has.

import { expect } from "./kit.mjs";

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

export const flows = { integers };
