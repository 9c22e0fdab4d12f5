/**
 * A real, headless Chromium and the page that it opens: found, never downloaded.
 *
 * The page is built once per test file and served from a loopback port, as a static host would.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, chromium } from "playwright-core";
import { build } from "vite";

/** Where Debian, and others, install it. */
export const CHROMIUM = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
].find((path) => existsSync(path));

export const CHROMIUM_MISSING = "Chromium is not installed (apt-get install chromium)";

const REACT_CHAT = fileURLToPath(new URL("../../examples/react-chat", import.meta.url));

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
};

export interface ServedPage {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * What costs time and shows nothing: two pages behind the address bar of every window, which nobody sees. The option stands
 * for Playwright's own, so what that one switches off is here as well, as far as it matters to a page on this machine.
 */
const NO_FEATURES = [
  "WebUIOmniboxPopup",
  "WebUIOmniboxAimPopup",
  "WebUIOmniboxFullPopup",
  "AimEnabled",
  "AvoidUnnecessaryBeforeUnloadCheckSync",
  "DestroyProfileOnBrowserClose",
  "HttpsUpgrades",
  "MediaRouter",
  "NetworkTimeServiceQuerying",
  "OptimizationHints",
  "PaintHolding",
  "PreconnectToSearch",
];

/** A browser that talks to nobody but this machine; the caller closes it. */
export function launchBrowser(): Promise<Browser> {
  if (CHROMIUM === undefined) throw new Error(CHROMIUM_MISSING);
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--disable-features=${NO_FEATURES.join(",")}`,
    ],
  });
}

/** Builds examples/react-chat as a user would and serves the result. */
export async function serveReactChat(): Promise<ServedPage> {
  const folder = mkdtempSync(join(tmpdir(), "heddle-react-chat-"));
  await build({ root: REACT_CHAT, logLevel: "error", build: { outDir: folder, emptyOutDir: true } });
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url ?? "/", "http://localhost").pathname);
    const file = join(folder, path === "/" ? "index.html" : path);
    try {
      const bytes = await readFile(file);
      response.writeHead(200, { "content-type": CONTENT_TYPES[extname(file)] ?? "application/octet-stream" });
      response.end(bytes);
    } catch {
      response.writeHead(404).end(); // The page asks for nothing that was not built.
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, // listens on TCP
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
