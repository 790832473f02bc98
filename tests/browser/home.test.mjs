import assert from "node:assert/strict";
import path from "node:path";
import { after, before, describe, it } from "node:test";
import { axeSource, open, pictures, post, startBrowser, startServer } from "./harness.mjs";

const words = {
  en: {
    title: "Tidemill",
    heading: "The loop",
    datasets: "Datasets",
    empty: "No window has closed yet",
    chain: "chain holds",
  },
  zh: { title: "潮汐磨坊", heading: "闭环", datasets: "数据集", empty: "尚无关闭的窗口", chain: "链条完整" },
};

describe("the home page", () => {
  let server;
  let browser;
  before(async () => {
    server = await startServer();
    browser = await startBrowser();
    await post(server.url, "/api/datasets", { name: "flights", description: "departures" });
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  for (const language of ["en", "zh"]) {
    it(`shows the loop, the months and the events (${language})`, async () => {
      const { page, faults, context } = await open(browser, server.url, language);
      const word = words[language];
      await page.getByRole("heading", { name: word.heading, exact: true }).waitFor();
      assert.equal(await page.title(), word.title);
      await page.locator("[data-noun=datasets]").waitFor();
      assert.match(await page.locator("[data-noun=datasets]").innerText(), new RegExp(`${word.datasets}\\s*1`));
      assert.equal(await page.locator("[data-noun]").count(), 9);
      await page.locator("p.empty", { hasText: word.empty }).waitFor();
      await page.getByText(word.chain).waitFor();
      await page.getByText("datasets.created").first().waitFor();
      await page.screenshot({ path: path.join(pictures, `home-${language}.png`), fullPage: true });
      assert.deepEqual(faults, []);
      await context.close();
    });

    it(`is accessible (${language})`, async () => {
      const { page, context } = await open(browser, server.url, language);
      await page.locator("[data-noun=datasets]").waitFor();
      await page.evaluate(axeSource);
      const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa"] }));
      const told = found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
      assert.deepEqual(told, []);
      await context.close();
    });
  }

  it("changes the language and keeps the choice", async () => {
    const { page, context } = await open(browser, server.url, "en");
    await page.locator("#language").click();
    await page.getByRole("heading", { name: words.zh.heading, exact: true }).waitFor();
    await page.goto(server.url);
    await page.getByRole("heading", { name: words.zh.heading, exact: true }).waitFor();
    await context.close();
  });

  it("shows what happens without being reloaded", async () => {
    const { page, context } = await open(browser, server.url, "en");
    await page.locator("[data-noun=datasets]").waitFor();
    await post(server.url, "/api/datasets", { name: "weather", description: "<img src=x onerror=alert(1)>" });
    await page.getByText("datasets/weather").first().waitFor({ timeout: 10_000 });
    await page.locator("[data-noun=datasets] .room-count", { hasText: "2" }).waitFor({ timeout: 10_000 });
    await context.close();
  });

  it("says that the server is gone, and comes back by itself", async () => {
    const own = await startServer();
    const { page, context } = await open(browser, own.url, "en");
    await page.locator("[data-noun=datasets]").waitFor();
    await own.stop();
    await page.getByRole("alert").waitFor({ timeout: 15_000 });
    assert.match(await page.getByRole("alert").first().innerText(), /does not answer/);
    await context.close();
  });
});
