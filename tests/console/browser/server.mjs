// Runs flows in one Chromium until standard input ends: a line {program, flow, options} for each, and a line {result} or
// {error} as the answer.

import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import { kitOf } from "./kit.mjs";

const browser = await chromium.launch({ executablePath: process.argv[2], args: ["--no-sandbox"] });
browser.on("disconnected", () => process.exit());
// A flow that fails may leave promises that fail later. They must end neither this process nor the next flow.
process.on("unhandledRejection", (error) => console.error(error));
const answer = (content) => console.log(JSON.stringify(content));

async function run({ program, flow, options }) {
  try {
    const { flows } = await import(`./${program}`);
    return { result: (await flows[flow](await kitOf(browser, options))) ?? null };
  } catch (error) {
    return { error: String(error?.stack ?? error) };
  } finally {
    await Promise.all(browser.contexts().map((one) => one.close()));
  }
}

answer("ready");
for await (const line of createInterface({ input: process.stdin })) answer(await run(JSON.parse(line)));
await browser.close();
