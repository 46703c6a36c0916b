// Every page, wide and narrow, light and dark: it has no errors, is accessible, and fits the window.
import { NARROW, WIDE, axe, eachKind, goto, kindOf, none, open, play, quiet, reveal } from "./driver.mjs";

/** Axe's rules that depend on the colours, and those that depend on the width. */
const COLOURS = ["color-contrast"];
const WIDTHS = ["scrollable-region-focusable", "target-size"];

await play(async ({ browser, origin, more, expected, check }) => {
  const page = await open(browser, origin);
  const pages = await eachKind(page, more);
  await check("every kind of page is found", () => {
    const kinds = pages.map(kindOf);
    none("no link leads to", expected.filter((kind) => !kinds.includes(kind)));
  });
  const wrong = [["/nowhere", 404], ["/events/999999", 404], ["/messages/999999", 404], ["/events?since=x", 400]];
  for (const [path, status] of [...pages.map((path) => [path, 200]), ...wrong]) {
    await check(`${path} is quiet, readable by all, and fits`, () => look(page, path, status));
  }
  await goto(page, "/");
  await reveal(page);
  for (const path of pages.filter((path) => /^\/(messages|conversations|events)\/[0-9a-f]+$/.test(path))) {
    await check(`${path} with personal data too`, () => look(page, path, 200));
  }
});

async function look(page, path, status) {
  const wrong = [];
  await page.setViewportSize(WIDE);
  await page.emulateMedia({ colorScheme: "light" });
  await goto(page, path, status);
  wrong.push(...(await axe(page)).map((found) => `wide, light: ${found}`));
  await page.emulateMedia({ colorScheme: "dark" });
  wrong.push(...(await axe(page, COLOURS)).map((found) => `dark: ${found}`));
  await page.setViewportSize(NARROW);
  wrong.push(...(await sideways(page)).map((found) => `narrow: ${found}`));
  wrong.push(...(await axe(page, WIDTHS)).map((found) => `narrow: ${found}`));
  none("found", wrong);
  quiet(page);
}

/** What is wider than the window, or scrolls sideways, and is not a table in its own frame. */
function sideways(page) {
  return page.evaluate(async () => {
    // The page learns of a new width before the next frame, and the charts follow it.
    await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    const told = (element) => element.cloneNode(false).outerHTML.slice(0, 120);
    const wide = [];
    const root = document.documentElement;
    if (root.scrollWidth > root.clientWidth) {
      wide.push(`the page is ${root.scrollWidth} wide in ${root.clientWidth}`);
      for (const element of document.body.querySelectorAll("*")) {
        const framed = element.parentElement.closest(".scroll");
        if (!framed && element.getBoundingClientRect().right > root.clientWidth + 1) wide.push(`sticks out: ${told(element)}`);
      }
    }
    for (const element of document.body.querySelectorAll("*")) {
      const scrolls = ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
      if (scrolls && element.scrollWidth > element.clientWidth && !element.matches(".scroll")) wide.push(`scrolls sideways: ${told(element)}`);
    }
    // These tables become blocks or lines on a narrow window, and are read without scrolling.
    const lists = ["/search", "/conversations"].includes(location.pathname) ? "table" : "table.stack, table.dense";
    for (const table of document.querySelectorAll(lists)) {
      if (table.getBoundingClientRect().right > root.clientWidth + 1) wide.push(`is read only by scrolling: ${told(table)}`);
    }
    return wide;
  });
}
