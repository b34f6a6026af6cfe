// What every script shares: Chromium on one page, and all that goes wrong there.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [, , modules, chromium, base, ...rest] = process.argv;
const require = createRequire(`${modules}/package.json`);
const { chromium: engine } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

export const args = rest;
export const address = (path) => base + path;

// Chromium would look for its maker's hosts at every start.
const QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

// Runs before a page's own script. Hostile texts of the tests call one of the names: nothing of theirs may ever run.
const CANARY = () => {
  for (const name of ["alert", "canary"]) window[name] = () => console.error(`a stranger's script ran: ${name}`);
  document.addEventListener("securitypolicyviolation", (event) => console.error(`blocked: ${event.violatedDirective} ${event.blockedURI}`));
};

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
export const heard = async () => (await lines.next()).value;
export const say = (word) => process.stdout.write(`${JSON.stringify(word)}\n`);
export const check = (truth, what) => { if (!truth) throw new Error(what); };

// Does the work in one browser, in a window for each of the options, two at a time; returns what went wrong.
export async function visit(windows, work) {
  const browser = await engine.launch({ executablePath: chromium, args: QUIET });
  const waiting = [windows].flat();
  const troubles = [];
  const lane = async () => { for (let options = waiting.shift(); options; options = waiting.shift()) troubles.push(...await within(browser, options, work)); };
  try {
    await Promise.all([lane(), lane()]);
  } finally {
    await browser.close();
  }
  return troubles;
}

async function within(browser, options, work) {
  const troubles = [];
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, timezoneId: "Europe/Berlin", locale: "en-GB", ...options });
  const page = await context.newPage();
  await page.addInitScript(CANARY);
  page.setDefaultTimeout(15000);
  const tell = (text) => troubles.push(`${page.url()}: ${text}`);
  page.on("pageerror", (error) => tell(`error: ${error}`));
  page.on("dialog", (dialog) => { tell(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("console", (message) => { if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) tell(`console: ${message.text()}`); });
  page.on("request", (request) => { if (!request.url().startsWith(base)) tell(`request: ${request.url()}`); });
  try {
    troubles.push(...((await work(page, options)) ?? []));
  } catch (error) {
    tell(`failed: ${error.message}`);
  } finally {
    await context.close();
  }
  return troubles;
}

export async function inaccessible(page) {
  const found = await page.evaluate(`${axe}; axe.run(document, { runOnly: ${JSON.stringify(RULES)} })`);
  return found.violations.map((each) => `${each.id}: ${each.nodes[0].html.slice(0, 160)}`);
}

// The last word of every script. Nobody is waited for any more.
export function report(troubles) {
  say(troubles);
  process.stdin.destroy();
}
