// The pictures of docs/console.md, of the demonstration.

const LOOKS = {
  "console-table": { width: 1280, height: 760 },
  "console-history": { width: 1280, height: 640, scheme: "dark" },
  "console-event": { width: 1280, height: 640 },
  "console-narrow": { width: 390, height: 760 },
};

async function take({ browser, base, passwords, folder }) {
  for (const [name, look] of Object.entries(LOOKS)) {
    const context = await browser.newContext({
      viewport: { width: look.width, height: look.height },
      colorScheme: look.scheme || "light",
      timezoneId: "Europe/Oslo",
    });
    const page = await context.newPage();
    const user = name === "console-event" ? "eve" : "ann";
    await page.goto(`${base}/console`);
    await page.getByLabel("Username").fill(user);
    await page.getByLabel("Password").fill(passwords[user]);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("button", { name: "Sign out" }).waitFor();
    await page.locator(".light.green").waitFor();
    await steps[name](page, base);
    await page.waitForTimeout(600);
    await page.screenshot({ path: `${folder}/${name}.png` });
    await context.close();
  }
}

const steps = {
  "console-table": async (page, base) => {
    await page.goto(`${base}/console/invoices?paid=false&sort=due&at=40`);
    await page.locator("tbody tr").first().waitFor();
  },
  "console-history": async (page, base) => {
    await page.goto(`${base}/console/invoices/10`);
    await page.locator(".history li").first().waitFor();
  },
  "console-event": async (page, base) => {
    await page.goto(`${base}/console/audit/events/12`);
    await page.locator(".verdict.green").waitFor();
  },
  "console-narrow": async (page, base) => {
    await page.goto(`${base}/console/invoices`);
    await page.locator("tbody tr").first().waitFor();
  },
};

export const flows = { take };
