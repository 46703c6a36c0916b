// The actions of an operator: pause and resume a handler, replay its events, retry a dead letter.
import { rmSync, writeFileSync } from "node:fs";

import { Wrong, equal, eventually, goto, open, play, quiet, reveal } from "./driver.mjs";

await play(async ({ browser, origin, webhook, key, events, door, check }) => {
  const page = await open(browser, origin);
  const says = (text) => page.getByText(text).first().waitFor();
  const lag = async (handler) => {
    const { handlers } = await (await fetch(`${origin}/api/v1/handlers`)).json();
    return handlers.find((one) => one.handler === handler).lanes.reduce((sum, lane) => sum + lane.lag, 0);
  };
  const dead = async () => (await (await fetch(`${origin}/api/v1/dead`)).json()).dead.length;
  const replays = async () => (await (await fetch(`${origin}/api/v1/replays`)).json()).replays;
  await check("a handler is held back, for a reason, and let go on", async () => {
    await goto(page, "/handlers");
    await page.getByRole("main").getByRole("link", { name: "audit" }).click();
    await page.getByLabel("Reason").fill("its disk is being <b>replaced</b>");
    await page.getByRole("button", { name: "Pause" }).click();
    await says("its disk is being <b>replaced</b>");
    await fetch(webhook, { method: "POST", headers: { authorization: `Basic ${key}` }, body: events[0] });
    await eventually("what came waits for it", async () => (await lag("audit")) === 1);
    await goto(page, "/handlers");
    await says("its disk is being <b>replaced</b>");
    await page.getByRole("main").getByRole("link", { name: "audit" }).click();
    await page.getByRole("button", { name: "Resume" }).click();
    await page.getByRole("button", { name: "Pause" }).waitFor();
    await eventually("it goes on where it was", async () => (await lag("audit")) === 0);
  });
  await check("a replay is counted first, and then started", async () => {
    await goto(page, "/handlers/audit");
    await page.getByRole("main").getByRole("button", { name: /^Count/ }).click();
    const start = page.getByRole("button", { name: /^Deliver .* again$/ });
    await start.waitFor();
    equal("replays before it is asked for", await replays(), []);
    const counted = Number(/\d[\d,]*/.exec(await start.innerText())[0].replace(",", ""));
    if (!(counted > 50)) throw new Wrong(`only ${counted} are counted`);
    await start.click();
    await page.waitForURL(/\/replays/);
    const [replay] = await eventually("it comes to its end", async () => {
      const all = await replays();
      return all[0]?.state === "done" && all;
    });
    equal("of which handler", replay.handler, "audit");
    await goto(page, "/replays");
    await says("done");
  });
  await check("a dead letter is retried by its button, and arrives once it is taken", async () => {
    const before = await dead();
    if (before === 0) throw new Wrong("there is no dead letter");
    await goto(page, "/dead");
    await page.locator("tbody th a").first().click();
    writeFileSync(door, "");
    await page.getByRole("button", { name: "Retry" }).click();
    await eventually("it arrives, and is gone", async () => (await dead()) === before - 1);
    rmSync(door);
  });
  await check("all that is left is retried at once, after it is counted", async () => {
    const before = await dead();
    await goto(page, "/dead");
    await page.getByRole("button", { name: /^Retry all/ }).click();
    equal("dead letters before it is confirmed", await dead(), before);
    writeFileSync(door, "");
    await page.getByRole("main").getByRole("button", { name: /^Retry/ }).click();
    await eventually("all arrive", async () => (await dead()) === 0);
    await goto(page, "/dead");
    await says("None: every event was delivered");
  });
  await check("what could not be read is looked at, tried again and dropped", async () => {
    const entries = async () => (await (await fetch(`${origin}/api/v1/quarantine`)).json()).quarantine.length;
    await fetch(webhook, { method: "POST", headers: { authorization: `Basic ${key}` }, body: '[{"eventName": "<b>torn</b>", "phone": "' });
    const before = await entries();
    await goto(page, "/quarantine");
    await page.locator("tbody a[href^='/quarantine/']").first().click();
    await page.getByRole("heading", { name: /in quarantine/ }).waitFor();
    equal("its bytes are in sight", (await page.locator("main").innerText()).includes("torn"), false);
    await reveal(page);
    await says("<b>torn</b>");
    await page.getByRole("button", { name: "Retry" }).click();
    await page.locator(".notice.warn").waitFor();
    equal("entries after it was tried", await entries(), before);
    await page.locator("main a[href$='/drop']").click();
    equal("entries before it is confirmed", await entries(), before);
    await page.getByRole("main").getByRole("button", { name: /Drop/ }).click();
    await page.locator(".notice.done").waitFor();
    equal("entries afterwards", await entries(), before - 1);
  });
  await check("none of this went wrong", () => quiet(page));
});
