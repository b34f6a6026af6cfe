// Says when each text that it is told can be seen on the first page, in milliseconds since 1970, until it is told "end".
import { address, heard, report, say, visit } from "./page.mjs";

// Resolves in the frame after the one in which the text was laid out: by then it is on the screen.
const seen = (text) => new Promise((resolve) => {
  const look = () => {
    const row = Array.from(document.querySelectorAll(".entry")).find((each) => each.textContent.includes(text));
    requestAnimationFrame(row?.checkVisibility() ? () => resolve(Date.now()) : look);
  };
  look();
});

report(await visit({}, async (page) => {
  await page.goto(address("/"));
  await page.waitForSelector("[data-live]:not([hidden])");
  say("ready");
  for (let text = await heard(); text !== "end"; text = await heard()) {
    const moment = page.evaluate(seen, text);
    say("ready");
    say(await moment);
  }
}));
