// The live page: an event is shown within a second, its markup stays text, and a pause delays rows until it ends.
import { Wrong, equal, eventually, goto, none, open, play, quiet } from "./driver.mjs";

/** Events that are timed: on a loaded machine the quickest counts. */
const TIMED = 5;

await play(async ({ browser, origin, webhook, key, hostile, check }) => {
  const page = await open(browser, origin);
  let posted = 0;
  const post = async (name) => {
    posted += 1;
    const event = { eventName: name, eventInfo: { messageId: `live-${posted}`, status: name }, id: `live-${posted}` };
    const answer = await fetch(webhook, { method: "POST", headers: { authorization: `Basic ${key}` }, body: JSON.stringify([event]) });
    if (answer.status !== 200) throw new Wrong(`an event is answered with ${answer.status}`);
    return Date.now();
  };
  const rows = () => page.locator("#live tbody tr").count();
  const shown = (text) => eventually(`a row with ${text}`, async () => (await page.locator("#live tbody").innerText()).includes(text));
  const state = (word) => eventually(`it is ${word}`, async () => (await page.locator("#live-state").innerText()) === word);

  await check("an event is on the page within a second", async () => {
    await goto(page, "/tail");
    await state("live");
    await page.evaluate(() => {
      window.cameAt = {};
      new MutationObserver(() => {
        for (const row of document.querySelectorAll("#live tbody tr")) window.cameAt[row.cells[2].textContent] ??= Date.now();
      }).observe(document.querySelector("#live tbody"), { childList: true });
    });
    const took = [];
    for (let turn = 0; turn < TIMED; turn += 1) {
      const name = `timed-${turn}`;
      const at = await post(name);
      await shown(name);
      took.push((await page.evaluate((name) => window.cameAt[name], name)) - at);
    }
    if (!(Math.min(...took) < 1_000)) throw new Wrong(`it took ${took.join(", ")} ms`);
  });
  await check("while it is paused nothing moves, and afterwards nothing is missing", async () => {
    await page.getByRole("button", { name: "Pause" }).click();
    await state("paused");
    const before = await rows();
    for (const name of ["meanwhile-1", "meanwhile-2", "meanwhile-3"]) await post(name);
    await page.getByText("3 arrived while paused").waitFor();
    equal("rows while it is paused", await rows(), before);
    await page.getByRole("button", { name: "Resume" }).click();
    await shown("meanwhile-1");
    equal("rows afterwards", await rows(), before + 3);
    await state("live");
  });
  await check("markup comes in as text", async () => {
    for (const text of hostile) {
      await post(text);
      await shown(text.trim());
    }
    none("came alive", await page.$$eval("#live script, #live img, #live iframe, #live b", (all) => all.map((one) => one.outerHTML)));
    equal("a script ran", await page.evaluate(() => window.owned ?? null), null);
  });
  await check("with a filter only what is asked for comes", async () => {
    await goto(page, "/tail?event=wanted-*");
    await state("live");
    await post("other");
    await post("wanted-1");
    await shown("wanted-1");
    equal("rows", await rows(), 1);
  });
  await check("none of this went wrong", () => quiet(page));
});
