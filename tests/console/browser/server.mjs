// One Chromium for the flows of a test session, until standard input ends. Each flow has a context of its own.

import { chromium } from "playwright-core";

const server = await chromium.launchServer({ executablePath: process.argv[2], args: ["--no-sandbox"] });
console.log(server.wsEndpoint());
process.stdin.on("end", () => server.close()).resume();
