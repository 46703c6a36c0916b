// Without JavaScript: every page shows its content, and its forms work.
import { Wrong, eachKind, equal, goto, open, play, quiet, reveal } from "./driver.mjs";

await play(async ({ browser, origin, more, phone, check }) => {
  const page = await open(browser, origin, { javaScriptEnabled: false });
  for (const path of await eachKind(page, more)) {
    await check(`${path} without JavaScript`, async () => {
      await goto(page, path);
      const [title, text] = [await page.locator("h1").first().innerText(), await page.locator("main").innerText()];
      if (title.trim() === "" || text.trim().length < 20) throw new Wrong(`it says only ${JSON.stringify(text)}`);
      // Hidden parts are shown by scripts. A page with such parts says what to do without scripts.
      const hidden = await page.locator("main [hidden]:not(.chart)").count();
      if (hidden > 0 && !(await page.locator("main noscript > *").first().isVisible())) {
        throw new Wrong("it has parts that only a script shows, and does not say what to do without");
      }
      const tables = await page.$$eval(".chart", (all) => all.map((one) => one.dataset.table));
      for (const table of tables) equal(`the table of the chart ${table}`, await page.locator(`#${table} tbody tr`).count() > 0, true);
      quiet(page);
    });
  }
  await check("a phone is found", async () => {
    await goto(page, "/search");
    await page.getByLabel("Phone, message id").fill(phone);
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByText("Found as phone").waitFor();
  });
  await check("personal data is shown and hidden again", async () => {
    await goto(page, "/conversations");
    equal("the phone is hidden", (await page.locator("main").innerText()).includes(phone.replace("+", "")), false);
    await reveal(page);
    equal("it is shown", (await page.locator("main").innerText()).includes(phone.replace("+", "")), true);
    await page.getByRole("button", { name: "Hide" }).click();
    await page.getByRole("button", { name: "Show personal data" }).waitFor();
    equal("it is hidden again", (await page.locator("main").innerText()).includes(phone.replace("+", "")), false);
  });
  quiet(page);
});
