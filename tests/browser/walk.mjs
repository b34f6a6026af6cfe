// Goes one way through the console as a person would; each way says "ready" where the test has something to do.
import { address, args, check, report, say, visit } from "./page.mjs";

const within = (page) => new URL(page.url());

const ways = {
  async live(page) {
    await page.goto(address("/"));
    await page.waitForSelector("[data-live]:not([hidden])");
    const before = await page.locator(".entry").count();
    say("ready");
    await page.waitForSelector(".entry.new");
    check((await page.locator(".entry").count()) === before + 1, "one row came");
    check((await page.locator("[data-said]").textContent()) === "1 new change", "it is said to those who do not see it");
  },
  async paused(page) {
    await page.goto(address("/"));
    await page.click("[data-live]");
    check((await page.getAttribute("[data-live]", "aria-pressed")) === "false", "it is paused");
    say("ready");
    await page.waitForTimeout(800);
    check((await page.locator(".entry.new").count()) === 0, "nothing came");
    await page.click("[data-live]");
    await page.waitForSelector(".entry.new");
  },
  async keys(page) {
    await page.goto(address("/"));
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    const second = await page.locator(".entry").nth(1).getAttribute("data-id");
    check((await page.locator(".entry.at-cursor").getAttribute("data-id")) === second, "j goes down");
    await page.keyboard.press("Enter");
    await page.waitForURL(`**/entries/${second}`);
    await page.keyboard.press("o");
    await page.waitForURL("**/objects/**");
    await page.goto(address("/"));
    await page.keyboard.press("/");
    check(await page.evaluate(() => document.activeElement.name === "q"), "/ goes to the search");
    await page.keyboard.press("j");
    check((await page.inputValue("[name=q]")) === "j", "in a field a key is a letter");
    await page.keyboard.press("Escape");
    await page.keyboard.press("?");
    check(await page.locator("#keys").evaluate((dialog) => dialog.open), "? shows the keys");
  },
  async off(page) {
    await page.goto(address("/"));
    await page.keyboard.press("?");
    await page.uncheck("#keys-on");
    await page.reload();
    await page.keyboard.press("j");
    check((await page.locator(".entry.at-cursor").count()) === 0, "single keys can be switched off");
  },
  async range(page) {
    await page.goto(address("/?kind=Deployment"));
    const box = await page.locator("[data-histogram] svg").boundingBox();
    await page.mouse.move(box.x + box.width * 0.25, box.y + 40);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.9, box.y + 40, { steps: 4 });
    await page.mouse.up();
    await page.waitForURL("**since=**");
    const wanted = within(page).searchParams;
    check(wanted.get("kind") === "Deployment" && wanted.get("since") < wanted.get("until"), "the range is in the address");
  },
  async copy(page) {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.goto(address("/?kind=Deployment&operation=UPDATE"));
    await page.click(".entry a.to");
    for (const summary of await page.locator("summary").all()) await summary.click();
    await page.click("[data-copy=patch]");
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    check(JSON.parse(copied)[0].op === "replace", "the patch is copied as JSON");
    check((await page.textContent("[data-copy=patch]")) === "Copied", "and that is said");
    await page.click("[data-copy=undo-command]");
    check((await page.evaluate(() => navigator.clipboard.readText())).startsWith("kubectl "), "the command is copied");
  },
  async points(page) {
    await page.goto(address("/objects/Deployment/shop/web"));
    await page.click("[data-point] >> nth=20");
    await page.click("[data-point] >> nth=3");
    await page.waitForURL("**from=**to=**");
    check((await page.locator(".difference .change").count()) === 1, "the net change is one field");
    check((await page.locator(".difference mark").count()) > 0, "and what differs within the line is marked");
  },
  async requeue(page) {
    await page.goto(address("/deliveries?state=dead"));
    await page.click("main form button >> nth=-1");
    await page.waitForURL("**queued=1**");
    check((await page.textContent("[role=status].note")).startsWith("Queued again"), "it is said that it is tried again");
  },
  async failed(page) {
    await page.goto(address("/?operation=FAILED"));
    await page.click(".entry a.to");
    await page.waitForURL("**/entries/**");
    check((await page.textContent("h1")).includes("nightly-"), "the Job is the headline");
    const log = page.locator("pre.log").first();
    check((await log.textContent()).includes("FATAL: cannot connect"), "its log is there");
    check(await log.evaluate((each) => each.scrollTop > 0 && each.scrollTop + each.clientHeight >= each.scrollHeight - 2), "and shows its end first");
    check((await page.getByRole("heading", { name: "Job Events", exact: false }).count()) > 0, "and so are its events");
  },
  async loading(page) {
    let go;
    const held = new Promise((resolve) => { go = resolve; });
    await page.route("**/chart?*", async (route) => { await held; await route.continue(); });
    await page.goto(address("/"));
    check((await page.textContent("[data-chart]")) === "Counting …", "what takes longer says so");
    check((await page.locator(".entry").count()) > 0, "and keeps nobody from reading");
    go();
    await page.waitForSelector("[data-histogram] svg");
  },
  async makers(page) {
    await page.goto(address("/?since=7d"));
    await page.getByRole("link", { name: "Controllers", exact: true }).click();
    await page.waitForURL("**actor=controller**");
    check(within(page).searchParams.get("since") === "7d", "the other filters stay");
    check((await page.locator(".who.person").count()) === 0, "what people did is left out");
  },
  async search(page) {
    await page.goto(address("/"));
    await page.fill("[name=q]", "nginx");
    await page.press("[name=q]", "Enter");
    await page.waitForURL("**q=nginx**");
    check(within(page).search === "?q=nginx", "empty fields are not in the address");
  },
  async plain(page) {
    await page.goto(address("/"));
    await page.click("summary");
    await page.fill("[name=kind]", "Deployment");
    await page.click(".actions button");
    check(within(page).searchParams.get("kind") === "Deployment", "a form filters");
    await page.click(".entry a.to");
    check(within(page).pathname.startsWith("/entries/"), "a row leads to its entry");
    await page.goto(address("/?chart=shown"));
    await page.click("[data-histogram] a:has(rect.all)", { position: { x: 2, y: 2 } });
    check(within(page).searchParams.has("since"), "a bar leads to its time");
    await page.goto(address("/deliveries?state=dead"));
    await page.click("main form button");
    check(within(page).searchParams.get("queued") === "1", "a dead letter is queued again");
  },
};

const [way] = args;
report(await visit({ javaScriptEnabled: way !== "plain" }, ways[way]));
