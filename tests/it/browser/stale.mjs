// A page that is left open: each part that refreshes itself says its time, and a receiver that does not answer is not shown
// as well.
import { Wrong, equal, eventually, goto, open, play } from "./driver.mjs";

await play(async ({ browser, origin, pid, check }) => {
  const page = await open(browser, origin);
  const asOf = () => page.locator("#now .as-of time").getAttribute("datetime");
  const bar = page.locator("#stale");

  await check("a part that was refreshed has a later time, and there is no bar", async () => {
    await goto(page, "/handlers");
    const first = await asOf();
    await eventually("it is refreshed", async () => (await asOf()) > first);
    equal("the bar is shown", await bar.isVisible(), false);
  });
  await check("after two misses a bar says how old the page is", async () => {
    process.kill(pid, "SIGSTOP");
    await eventually("the bar is shown", () => bar.isVisible());
    const text = await bar.innerText();
    const shown = await page.locator("#now .as-of time").innerText();
    if (!text.includes(shown)) throw new Wrong(`the bar says "${text}", and the part is of ${shown}`);
  });
  await check("the bar goes once the receiver answers again", async () => {
    process.kill(pid, "SIGCONT");
    await eventually("the bar is gone", async () => !(await bar.isVisible()));
  });
});
