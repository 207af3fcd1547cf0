// Runs flows in one Chromium until standard input ends: a line {program, flow, options} for each, and a line {result} or
// {error} as the answer.

import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import { kitOf } from "./kit.mjs";

const browser = await chromium.launch({ executablePath: process.argv[2], args: ["--no-sandbox"] });
browser.on("disconnected", () => process.exit());
// A promise that fails while its flow runs fails that flow. One that fails when the flow's context is closed fails nothing:
// it waited for what does not come any more.
const rejected = [];
process.on("unhandledRejection", (error) => {
  console.error(error);
  rejected.push(error);
});
const answer = (content) => console.log(JSON.stringify(content));

async function run({ program, flow, options }) {
  try {
    rejected.length = 0;
    const { flows } = await import(`./${program}`);
    const result = (await flows[flow](await kitOf(browser, options))) ?? null;
    await new Promise(setImmediate); // Until then a rejection may not have been reported.
    if (rejected.length) throw rejected[0];
    return { result };
  } catch (error) {
    return { error: String(error?.stack ?? error) };
  } finally {
    await Promise.all(browser.contexts().map((one) => one.close()));
  }
}

answer("ready");
for await (const line of createInterface({ input: process.stdin })) answer(await run(JSON.parse(line)));
await browser.close();
