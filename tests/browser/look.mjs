// Looks at addresses in both themes, on a desk and on a phone: keeps pictures, and reports what nobody should have to
// meet. Arguments: the folder of the pictures, "all" windows or only "two" of them, then a name and an address in turns.
import { address, args, inaccessible, report, visit } from "./page.mjs";

const TALLEST = 3600;
const [folder, which, ...rest] = args;
const pages = rest.flatMap((name, index) => (index % 2 ? [] : [[name, rest[index + 1]]]));
const every = ["light", "dark"].flatMap((colorScheme) => [1280, 390].map((width) => ({ colorScheme, viewport: { width, height: 900 } })));
const windows = which === "all" ? every : [every[0], every[3]];

const settled = (page) => page.waitForFunction(() => !document.querySelector("[data-chart]:not([hidden])"));

async function picture(page, path) {
  const { width, height } = await page.evaluate(() => ({ width: innerWidth, height: document.documentElement.scrollHeight }));
  await page.screenshot({ path, fullPage: true, clip: { x: 0, y: 0, width, height: Math.min(height, TALLEST) } });
}

// Does what a person's mouse would; returns what only something hostile could have brought.
function provoked() {
  const alien = [];
  for (const element of document.querySelectorAll("*")) {
    for (const type of ["mouseover", "focus", "error"]) element.dispatchEvent(new Event(type));
    const names = element.getAttributeNames().filter((name) => name.startsWith("on") || (name === "style" && element.getAttribute(name)) || name === "srcdoc");
    const address = element.getAttribute("href") ?? element.getAttribute("src") ?? element.getAttribute("action") ?? "";
    if (names.length || /^[a-z]+:/i.test(address)) alien.push(`hostile: ${element.outerHTML.slice(0, 160)}`);
  }
  return alien;
}

report(await visit(windows, async (page, { colorScheme, viewport: { width } }) => {
  const troubles = [];
  for (const [name, path] of pages) {
    const window = `${name}-${colorScheme}-${width}`;
    await page.goto(address(path), { waitUntil: "load" });
    await settled(page);
    await picture(page, `${folder}/${window}.png`);
    await page.evaluate(() => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
    troubles.push(...(await page.evaluate(provoked)).map((each) => `${path} (${window}): ${each}`));
    const excess = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (excess > 0) troubles.push(`${path} (${window}): ${excess} pixels too wide`);
    troubles.push(...(await inaccessible(page)).map((each) => `${path} (${window}): ${each}`));
  }
  return troubles;
}));
