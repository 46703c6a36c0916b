// Values from a sender are text on every page: they run nothing, send no requests, and are no links.
import { Wrong, goto, kindOf, links, none, open, play, reveal } from "./driver.mjs";

/** So many pages are looked at, at most. */
const PAGES = 400;

await play(async ({ browser, origin, more, hostile, shown, check }) => {
  const page = await open(browser, origin);
  const texts = new Map();
  for (const lifted of [false, true]) {
    const state = lifted ? "with personal data" : "veiled";
    if (lifted) {
      await goto(page, "/");
      await reveal(page);
    }
    await check(`every page, ${state}, has it as text`, async () => {
      const wrong = [];
      const pages = new Set(["/", ...more]);
      const kinds = new Set();
      // Pages that are added meanwhile are visited as well, so every reachable page is.
      for (const path of pages) {
        await goto(page, path);
        wrong.push(...(await alive(page)).map((found) => `${path}: ${found}`));
        wrong.push(...page.heard.splice(0).map((heard) => `${path}: ${heard}`));
        texts.set(path, await page.locator("body").innerText());
        // With masked data, one page of each kind is enough, because all of them mask the same fields.
        for (const link of await links(page)) if (pages.size < PAGES && (lifted || !kinds.has(kindOf(link)))) {
          pages.add(link);
          kinds.add(kindOf(link));
        }
      }
      none("came alive", wrong);
    });
  }
  for (const [kind, path] of Object.entries(shown)) {
    await check(`${kind} shows it, letter by letter`, () => {
      // Or as written in JSON.
      const seen = [...texts].filter(([one]) => one.startsWith(path)).map(([, text]) => text).join("\n");
      const missing = hostile.filter((text) => !seen.includes(text) && !seen.includes(JSON.stringify(text).slice(1, -1)));
      if (seen === "" || missing.length > 0) throw new Wrong(`not on any page under ${path}: ${missing.join("  ")}`);
    });
  }
});

/** What of the values came alive: elements and attributes that no page here has, and links that are no addresses. */
function alive(page) {
  return page.evaluate(() => {
    const told = (element) => element.outerHTML.slice(0, 160);
    const found = [];
    if (window.owned) found.push("a script ran");
    for (const element of document.querySelectorAll("script:not([src]), img, iframe, object, embed, base, style, b")) {
      found.push(`an element: ${told(element)}`);
    }
    for (const element of document.querySelectorAll("*")) {
      const own = element.closest(".uplot");
      if (element.getAttributeNames().some((name) => name.startsWith("on"))) found.push(`an attribute: ${told(element)}`);
      if (!own && element.hasAttribute("style")) found.push(`a style: ${told(element)}`);
    }
    for (const link of document.querySelectorAll("[href], [src], [action], [formaction]")) {
      for (const name of ["href", "src", "action", "formaction"]) {
        const value = link.getAttribute(name);
        if (value !== null && new URL(value, location).origin !== location.origin) found.push(`leads elsewhere: ${told(link)}`);
      }
    }
    return found;
  });
}
