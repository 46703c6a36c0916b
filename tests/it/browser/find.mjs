// The search: a customer by the complete phone number, a message by its id, the pages of both, and the data masked on
// them.
import { equal, goto, none, open, play, quiet, reveal } from "./driver.mjs";

await play(async ({ browser, origin, phone, message, words, check }) => {
  const page = await open(browser, origin);
  const search = async (text) => {
    await goto(page, "/search");
    await page.getByLabel("Phone, message id").fill(text);
    await page.keyboard.press("Enter");
    await page.getByText("Found as").waitFor();
  };
  await check("a phone is found as one, however it is written", async () => {
    for (const text of [phone, phone.replace("+", ""), phone.replace(/^\+(..)(.....)/, "+$1 $2 ")]) {
      await search(text);
      await page.getByText("Found as phone or other address").waitFor();
    }
  });
  await check("a message is found by its id, and followed on its way", async () => {
    await search(message);
    await page.getByText("Found as message id").waitFor();
    await page.locator("tbody a[href^='/messages/']").click();
    await page.getByRole("heading", { name: "Message read" }).waitFor();
    equal("its statuses", await page.locator(".way li > span:first-child").allInnerTexts(), ["sent", "delivered", "read"]);
    await page.locator(".way a").first().click();
    await page.getByRole("heading", { name: /^Event / }).waitFor();
  });
  const personal = [phone.slice(1), message, words];
  const visible = async () => {
    const html = (await page.locator("html").innerText()).replaceAll(/\s+/g, " ");
    return personal.filter((text) => html.includes(text));
  };
  await check("what is personal is hidden until it is asked for", async () => {
    await search(phone);
    const seen = [];
    await page.locator("tbody a[href^='/conversations/']").first().click();
    const conversation = new URL(page.url()).pathname;
    for (const path of ["/", "/conversations", conversation, "/events", "/search"]) {
      await goto(page, path);
      seen.push(...(await visible()).map((text) => `${text} on ${path}`));
    }
    none("shown unasked", seen);
    await goto(page, conversation);
    await reveal(page);
    equal("it is the same page", new URL(page.url()).pathname, conversation);
    equal("what was said and by whom", (await visible()).sort(), [phone.slice(1), words].sort());
    await page.getByText("Shown for 15 min").waitFor();
    await page.getByRole("button", { name: "Hide" }).click();
    await page.getByRole("button", { name: "Show personal data" }).waitFor();
    none("shown still", await visible());
  });
  await check("none of this went wrong", () => quiet(page));
});
