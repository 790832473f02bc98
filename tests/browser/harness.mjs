// A real server, a real Chromium. Playwright's own browser is not needed: Debian's is driven.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";

const root = process.env.TIDEMILL_SOURCE ?? path.resolve(import.meta.dirname, "../..");
const binary = process.env.TIDEMILL_BINARY ?? path.join(root, "build/tidemill");
const require = createRequire(path.join(root, "web/package.json"));
const { chromium } = require("playwright-core");
export const axeSource = require("axe-core").source;
export const pictures = path.join(root, "build/test-results/browser");

const quiet = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

// Starts the server on a folder of its own; `stop()` ends it and removes the folder.
export async function startServer(...flags) {
  const folder = mkdtempSync(path.join(tmpdir(), "tidemill-browser-"));
  const argv = ["server", "--data", path.join(folder, "data"), "--port", "0", ...flags];
  const child = spawn(binary, argv, { stdio: ["ignore", "pipe", "inherit"] });
  const url = await new Promise((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (piece) => {
      text += piece;
      const ready = /ready at (\S+)/.exec(text);
      if (ready) resolve(ready[1]);
    });
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
  const stop = () =>
    new Promise((resolve) => {
      child.once("exit", () => {
        rmSync(folder, { recursive: true, force: true });
        resolve();
      });
      child.kill("SIGTERM");
    });
  return { url, stop, kill: () => child.kill("SIGKILL") };
}

export async function startBrowser() {
  mkdirSync(pictures, { recursive: true });
  return chromium.launch({ executablePath: "/usr/bin/chromium", headless: true, args: quiet });
}

// Opens a page and remembers everything that it complains about: errors on the console and refused resources.
export async function open(browser, url, language) {
  const locale = language === "zh" ? "zh-CN" : "en-US";
  const context = await browser.newContext({ locale, viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(message.text());
  });
  page.on("pageerror", (error) => faults.push(String(error)));
  await page.goto(`${url}/?lang=${language}`);
  return { page, faults, context };
}

export async function post(url, pathname, body) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(url + pathname, { method: "POST", headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${pathname}: ${response.status} ${await response.text()}`);
  return response.json();
}
