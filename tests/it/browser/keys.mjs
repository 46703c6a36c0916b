// The keyboard alone: Tab reaches everything that can be clicked, in the order of the page, and the focus is visible.
import { Wrong, eachKind, equal, goto, none, open, play, quiet } from "./driver.mjs";

/** More than any page has to press Tab for. */
const PRESSES = 600;

await play(async ({ browser, origin, more, check }) => {
  const page = await open(browser, origin);
  for (const path of await eachKind(page, more)) {
    await check(`${path} by the Tab key`, async () => {
      await goto(page, path);
      await walk(page);
      quiet(page);
    });
  }
  await check("the first thing that Tab comes by leads past the navigation", async () => {
    await goto(page, "/events");
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press("Tab");
    equal("the first link", await page.evaluate(() => document.activeElement.textContent), "Skip to content");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    equal("what follows is in the content", await page.evaluate(() => !!document.activeElement.closest("main")), true);
  });
  await check("personal data is shown by the keyboard", async () => {
    await goto(page, "/events");
    await page.getByRole("button", { name: "Show personal data" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Hide" }).waitFor();
    equal("and it is the same page", new URL(page.url()).pathname, "/events");
  });
});

async function walk(page) {
  // From the first link on, wherever the page sets the initial focus. The check below shows that Tab reaches this link
  // too.
  const all = await page.evaluate(() => {
    const KINDS = 'a[href], button, input:not([type="hidden"]), select, textarea, summary, [tabindex="0"]';
    window.things = [...document.querySelectorAll(KINDS)].filter((thing) => thing.checkVisibility() && !thing.disabled);
    window.things[0].focus();
    return window.things.map((thing) => thing.outerHTML.slice(0, 120));
  });
  const came = [0];
  const wrong = [];
  for (let press = 0; press < PRESSES && came.at(-1) !== all.length - 1; press += 1) {
    await page.keyboard.press("Tab");
    const { at, dim, what } = await page.evaluate(() => {
      const thing = document.activeElement;
      const style = getComputedStyle(thing);
      const box = thing.getBoundingClientRect();
      const ringed = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
      const inView = box.width > 0 && box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
      return { at: window.things.indexOf(thing), dim: !ringed || !inView, what: thing.outerHTML.slice(0, 120) };
    });
    // A date field has several stops. In some browsers, a frame that scrolls is a stop of its own.
    if (at === came.at(-1) || at < 0) continue;
    if (dim) wrong.push(`has the focus, and nobody sees it: ${what}`);
    came.push(at);
  }
  const missed = all.filter((_thing, at) => !came.includes(at));
  none("Tab does not come by", missed);
  none("with the focus", wrong);
  if (came.some((at, turn) => turn > 0 && at < came[turn - 1])) throw new Wrong("the order is not that of the page");
}
