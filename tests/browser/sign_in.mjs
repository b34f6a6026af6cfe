// Signs in and out, with and without script, in both themes and on a phone; a proxy's header makes the visitor a stranger.
import { address, args, check, inaccessible, report, visit } from "./page.mjs";

const [folder, user, password] = args;
const STRANGER = { extraHTTPHeaders: { "X-Forwarded-For": "203.0.113.7" } };
const windows = ["light", "dark"].flatMap((colorScheme) => [1280, 390].map((width) => ({ ...STRANGER, colorScheme, viewport: { width, height: 844 } })));

async function entered(page) {
  await page.fill("[name=user]", user);
  await page.fill("[name=password]", password);
  await page.click("button.primary");
}

async function look(page, options, name, found) {
  await page.screenshot({ path: `${folder}/${name}-${options.colorScheme}-${options.viewport.width}.png`, fullPage: true });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) found.push(`${name}: ${wide} pixels too wide`);
  found.push(...(await inaccessible(page)).map((each) => `${name}: ${each}`));
}

async function way(page, options) {
  const found = [];
  await page.goto(address("/?kind=Deployment"));
  check(page.url().includes("/login?next="), "a stranger is led to the form");
  await page.click("summary");
  await look(page, options, "sign-in", found);
  await page.fill("[name=user]", user);
  await page.fill("[name=password]", "wrong");
  await page.click("button.primary");
  check((await page.textContent("[role=alert]")).includes("not the name and the password"), "what is wrong is said");
  check((await page.inputValue("[name=user]")) === user, "the name stays");
  await look(page, options, "sign-in-refused", found);
  await entered(page);
  await page.waitForURL("**/?kind=Deployment");
  await page.waitForSelector(".me");
  await look(page, options, "signed-in", found);
  await page.goto("about:blank");
  await page.setContent(`<a href="${address("/actors?since=30d")}">a link in a chat</a>`);
  await page.click("a");
  await page.waitForURL("**/actors?since=30d");
  check((await page.textContent(".me")).includes(user), "who follows a link from elsewhere stays signed in");
  await page.click(".me button");
  await page.waitForURL("**/login**");
  await page.goto(address("/actors"));
  check(page.url().includes("/login?next=actors"), "who has signed out is a stranger");
  return found;
}

async function plain(page) {
  await page.goto(address("/actors?since=30d"));
  await entered(page);
  await page.waitForURL("**/actors?since=30d");
  await page.click(".me button");
  await page.waitForURL("**/login**");
}

async function ended(page) {
  await page.goto(address("/"));
  await entered(page);
  await page.waitForSelector("[data-live]:not([hidden])");
  await page.context().clearCookies({ name: "kubewitness-session" });
  await page.reload();
  check(page.url().includes("/login"), "whose session has ended signs in again");
}

report([
  ...(await visit(windows, way)),
  ...(await visit({ ...STRANGER, javaScriptEnabled: false }, plain)),
  ...(await visit(STRANGER, ended)),
]);
