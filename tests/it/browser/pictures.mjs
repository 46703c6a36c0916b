// Pictures of every page, with a week of traffic, with little and with none: wide and narrow, light and dark. For people to
// look at; `tests/screenshots` runs it.
//
//   node pictures.mjs BINARY FOLDER
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";

import { NARROW, WIDE, eachKind, goto, kindOf, launch, open, reveal } from "./driver.mjs";
import { Receiver, destination } from "./receiver.mjs";

const [binary, folder] = process.argv.slice(2).map((path) => resolve(path));
const VIEWS = [["wide", WIDE, "light"], ["wide", WIDE, "dark"], ["narrow", NARROW, "light"], ["narrow", NARROW, "dark"]];
/** Pages on which something changes when personal data is shown. */
const PERSONAL = /^\/(messages|conversations|events|search|dead|quarantine)/;

mkdirSync(folder, { recursive: true });
const crm = await destination();
const browser = await launch();
try {
  for (const [amount, messages] of [["much", 4_000], ["little", 3], ["none", 0]]) {
    const receiver = new Receiver(binary, crm);
    try {
      await receiver.live(messages);
      await pictures(receiver, amount);
      if (amount === "much") await documents(receiver);
    } finally {
      await receiver.end();
    }
  }
} finally {
  await browser.close();
  crm.close();
}

async function pictures(receiver, amount) {
  for (const [width, viewport, colorScheme] of VIEWS) {
    if (amount !== "much" && (width === "wide") !== (colorScheme === "light")) continue;
    const page = await open(browser, receiver.admin, { viewport, colorScheme });
    const { message, talk } = await receiver.examples();
    const paths = await eachKind(page, [message, talk].filter(Boolean));
    for (const lifted of [false, true]) {
      if (lifted) {
        await goto(page, "/");
        await reveal(page);
      }
      for (const path of paths) {
        if (lifted && !PERSONAL.test(path)) continue;
        await goto(page, path);
        const name = kindOf(path).replace(/^\/$/, "/overview").replace("/", "").replaceAll(/[^a-z0-9]+/gi, "-");
        const file = `${amount}.${name}.${width}.${colorScheme}${lifted ? ".shown" : ""}.png`;
        await page.screenshot({ path: join(folder, file), fullPage: true });
      }
    }
    await page.context().close();
  }
}

/** The pictures of the documents. */
async function documents(receiver) {
  const { message, talk } = await receiver.examples();
  mkdirSync(join(folder, "documents"), { recursive: true });
  for (const [name, path, colorScheme, height] of [
    ["overview", "/", "light", 984],
    ["message", message, "light", 900],
    ["conversation", talk, "light", 1_000],
    ["handlers", "/handlers", "dark", 900],
  ]) {
    const page = await open(browser, receiver.admin, { viewport: { width: 1_280, height }, colorScheme });
    await goto(page, path);
    if (PERSONAL.test(path)) await reveal(page);
    const bottom = await page.evaluate(() => Math.min(document.querySelector(".foot").getBoundingClientRect().top, innerHeight));
    await page.screenshot({ path: join(folder, "documents", `${name}.png`), clip: { x: 0, y: 0, width: 1_280, height: bottom } });
    await page.context().close();
  }
}
