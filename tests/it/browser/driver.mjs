// The base of every script here: a Chromium whose errors are recorded, a walk through the pages, and a plain report.
//
//   node SCRIPT.mjs '{"origin": "http://127.0.0.1:8081", …}'
//
// Prints a line for each check, "ok" or "FAILED" with the problem. The exit code is 1 if a check failed, or if nothing
// was checked.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

const packages = createRequire(new URL("../../../target/playwright/", import.meta.url));
const CHROMIUM = process.env.BIKHOOK_CHROMIUM ?? "/usr/bin/chromium";

/** Longer than anything takes on a loaded machine; whoever waits as long waits in vain. */
export const PATIENCE_MS = 20_000;
export const WIDE = { width: 1280, height: 900 };
export const NARROW = { width: 390, height: 844 };

/** Runs a scenario in a browser of its own, and ends the process with its outcome. */
export async function play(scenario) {
  const told = JSON.parse(process.argv[2] ?? "{}");
  const report = new Report();
  const browser = await launch();
  try {
    await scenario({ ...told, browser, check: (what, act) => report.check(what, act) });
  } catch (error) {
    report.failed("the scenario goes to its end", error);
  } finally {
    await browser.close();
  }
  report.end();
}

export function launch() {
  let chromium;
  try {
    ({ chromium } = packages("playwright-core"));
  } catch {
    throw new Error("playwright-core is not in target/playwright: `tests/run --tools` installs it");
  }
  if (!existsSync(CHROMIUM)) throw new Error(`there is no ${CHROMIUM}: \`tests/run --tools\` installs it`);
  // Chromium has no sandbox for root; the pages here are our own. No host name is resolved.
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"] });
}

class Report {
  #checks = 0;
  #failures = 0;

  /** Whether it went well: a failure is reported, and what comes after it goes on. */
  async check(what, act) {
    this.#checks += 1;
    try {
      await act();
      console.log(`ok      ${what}`);
    } catch (error) {
      this.failed(what, error);
    }
  }

  failed(what, error) {
    this.#failures += 1;
    const text = error instanceof Wrong ? error.message : (error.stack ?? String(error));
    const plain = text.replaceAll(/\x1b\[\d+m/g, "").trimEnd();
    console.log(`FAILED  ${what}\n        ${plain.replaceAll("\n", "\n        ")}`);
  }

  end() {
    console.log(`${this.#checks} checks, ${this.#failures} failed`);
    process.exitCode = this.#failures > 0 || this.#checks === 0 ? 1 : 0;
  }
}

/** What a check says of a page that is not as it should be. */
export class Wrong extends Error {}

/** Ends the check where there is anything in the list. */
export function none(what, list) {
  if (list.length > 0) throw new Wrong(`${what}:\n${[...new Set(list)].join("\n")}`);
}

export function equal(what, is, expected) {
  const [left, right] = [JSON.stringify(is), JSON.stringify(expected)];
  if (left !== right) throw new Wrong(`${what}: ${left} instead of ${right}`);
}

/** Waits for what is bound to become true; `is` may return what it has seen. */
export async function eventually(what, is, patience = PATIENCE_MS) {
  const begun = Date.now();
  for (;;) {
    const seen = await is();
    if (seen) return seen;
    if (Date.now() - begun > patience) throw new Wrong(`not within ${patience} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A page in a browser's window of its own, with everything in `page.heard` that it should not do. */
export async function open(browser, origin, options = {}) {
  const context = await browser.newContext({ baseURL: origin, viewport: WIDE, colorScheme: "light", reducedMotion: "reduce", ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  page.origin = origin;
  page.heard = [];
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    // Chromium also reports the status of a requested page; `goto` checks it.
    if (message.location().url === page.asked && message.text().startsWith("Failed to load resource")) return;
    page.heard.push(`console ${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => page.heard.push(`uncaught: ${error.message}`));
  page.on("dialog", (dialog) => {
    page.heard.push(`a dialog: ${dialog.message()}`);
    return dialog.dismiss();
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && url.protocol !== "data:") page.heard.push(`asks another origin: ${url}`);
  });
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => {
      console.error(`the policy forbids ${event.violatedDirective} of ${event.blockedURI}`);
    });
  });
  return page;
}

/** Goes to a path, which is answered with the status. */
export async function goto(page, path, status = 200) {
  page.asked = new URL(path, page.origin).href;
  const response = await page.goto(path, { waitUntil: "load" });
  if (response.status() !== status) throw new Wrong(`${path} is answered with ${response.status()}`);
}

/** Ends the check where the page did what it should not since the last time. */
export function quiet(page) {
  none("the page did what it should not", page.heard.splice(0));
}

/** Every path that links of the page lead to, in order. */
export function links(page) {
  return page.$$eval("a[href]", (found) =>
    found
      .map((link) => new URL(link.href))
      .filter((url) => url.origin === location.origin && !/^\/(assets|api|metrics)\b|\/bytes$/.test(url.pathname))
      .map((url) => url.pathname + url.search),
  );
}

/** What kind of page a path is: ids of one kind are one page, and so are the pages of a list. */
export function kindOf(path) {
  const url = new URL(path, "http://x");
  const names = [...new Set(url.searchParams.keys())].filter((name) => !["before", "after"].includes(name)).sort();
  return url.pathname.replace(/\/[0-9a-f]{32}$|\d+/g, (id) => (id.startsWith("/") ? "/N" : "N")) + (names.length > 0 ? `?${names.join("&")}` : "");
}

/** One path of each kind of page, found by following the links from the overview. */
export async function eachKind(page, more = []) {
  const found = new Map();
  const queue = ["/", ...more];
  while (queue.length > 0) {
    const path = queue.shift();
    if (found.has(kindOf(path))) continue;
    found.set(kindOf(path), path);
    await goto(page, path);
    queue.push(...(await links(page)));
  }
  return [...found.values()];
}

/** What axe finds serious or critical, with where; by some of its rules alone, if you like. */
export async function axe(page, only) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(readFileSync(packages.resolve("axe-core/axe.min.js"), "utf8"));
  const options = { resultTypes: ["violations"], ...(only && { runOnly: only }) };
  const { violations } = await page.evaluate((options) => window.axe.run(document, options), options);
  return violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .flatMap(({ id, help, nodes }) =>
      nodes.map(({ target, html, any }) => `${id}: ${help}: ${target} ${html.slice(0, 120)} ${any[0]?.message ?? ""}`),
    );
}

/** Lets this browser see personal data, by the form that every page has. */
export async function reveal(page) {
  await page.getByRole("button", { name: "Show personal data" }).click();
  await page.getByRole("button", { name: "Hide" }).waitFor();
}
