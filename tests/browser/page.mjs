// What every script shares: Chromium on one page, and all that goes wrong there.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [, , modules, chromium, base, ...rest] = process.argv;
const require = createRequire(`${modules}/package.json`);
const { chromium: engine } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

export const args = rest;
export const address = (path) => base + path;

// Chromium would look for its maker's hosts at every start.
const QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export async function visit(options, work) {
  const browser = await engine.launch({ executablePath: chromium, args: QUIET });
  const troubles = [];
  try {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, timezoneId: "Europe/Berlin", ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(15000);
    page.on("pageerror", (error) => troubles.push(`error: ${error}`));
    page.on("dialog", (dialog) => { troubles.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    page.on("console", (message) => { if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) troubles.push(`console: ${message.text()}`); });
    page.on("request", (request) => { if (!request.url().startsWith(base)) troubles.push(`request: ${request.url()}`); });
    await work(page);
  } catch (error) {
    troubles.push(`failed: ${error.message}`);
  } finally {
    await browser.close();
  }
  return troubles;
}

export async function inaccessible(page) {
  const found = await page.evaluate(`${axe}; axe.run(document, { runOnly: ${JSON.stringify(RULES)} })`);
  return found.violations.map((each) => `${each.id}: ${each.nodes[0].html.slice(0, 160)}`);
}

export const say = (word) => process.stdout.write(`${word}\n`);
export const report = (troubles) => say(JSON.stringify(troubles));
