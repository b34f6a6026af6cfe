// Looks at addresses in both themes and on a phone: keeps pictures, and reports what nobody should have to meet.
import { address, args, inaccessible, report, visit } from "./page.mjs";

const [folder, ...paths] = args;
const troubles = [];
for (const colorScheme of ["light", "dark"]) {
  for (const width of [1280, 390]) {
    const look = async (page) => {
      for (const [number, path] of paths.entries()) {
        const name = `${number}-${colorScheme}-${width}`;
        await page.goto(address(path), { waitUntil: "load" });
        await page.waitForFunction(() => !document.querySelector("[data-chart]:not([hidden])"));
        await page.screenshot({ path: `${folder}/${name}.png` });
        const excess = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (excess > 0) troubles.push(`${path} (${name}): ${excess} pixels too wide`);
        troubles.push(...(await inaccessible(page)).map((each) => `${path} (${name}): ${each}`));
      }
    };
    troubles.push(...await visit({ colorScheme, viewport: { width, height: 900 } }, look));
  }
}
report(troubles);
