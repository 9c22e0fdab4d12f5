import { describe, expect, it } from "vitest";
import { readBody } from "../../src/api/body.js";

const LIMIT = 10;

function announced(text: string, headers: Record<string, string> = {}): Request {
  const length = String(new TextEncoder().encode(text).length);
  return new Request("http://localhost/", {
    method: "POST",
    body: text,
    headers: { "content-length": length, ...headers },
  });
}

function streamed(chunks: readonly string[]): Request {
  const body = new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
      controller.close();
    },
  });
  return new Request("http://localhost/", { method: "POST", body, duplex: "half" } as RequestInit); // missing in the types
}

describe("a body", () => {
  it.each([
    ["announced", announced("0123456789"), "0123456789"],
    ["announced and empty", announced(""), ""],
    ["streamed", streamed(["01234", "", "56789"]), "0123456789"],
    ["streamed through a letter", streamed(["é".slice(0, 1), "ü"]), "éü"],
    ["absent", new Request("http://localhost/", { method: "POST" }), ""],
    ["with a byte order mark", streamed(["\ufeff{}"]), "{}"],
  ])("is read up to the limit: %s", async (_, request, expected) => {
    expect(await readBody(request, LIMIT)).toBe(expected);
  });

  it.each([
    ["announced", announced("0123456789a")],
    ["in letters of several bytes", announced("éééééé")],
    ["announced as more than it is", announced("0", { "content-length": "999" })],
    ["streamed at once", streamed(["0123456789a"])],
    ["streamed in parts", streamed(["01234", "56789", "a"])],
    ["streamed although a short length is announced", chunkedWithLength()],
  ])("is refused beyond the limit: %s", async (_, request) => {
    await expect(readBody(request, LIMIT)).rejects.toMatchObject({ code: "too_large" });
  });

  it("that is refused has been read, so that the connection can serve on", async () => {
    const request = streamed(Array.from({ length: 100 }, () => "0123456789"));
    await expect(readBody(request, LIMIT)).rejects.toMatchObject({ code: "too_large" });
    expect(request.bodyUsed).toBe(true);
  });
});

const bytes = (...codes: number[]) => new Uint8Array(codes);

describe("a body that is no plain text", () => {
  it.each([
    ["half a letter", bytes(0xc3)],
    ["a byte that no letter has", bytes(0x22, 0xff, 0x22)],
    ["an overlong slash", bytes(0xc0, 0xaf)],
    ["half a surrogate pair", bytes(0xed, 0xa0, 0x80)],
  ])("is refused: %s", async (_, body) => {
    const request = new Request("http://localhost/", { method: "POST", body });
    await expect(readBody(request, LIMIT)).rejects.toMatchObject({
      code: "bad_request",
      message: expect.stringContaining("UTF-8"),
    });
  });

  it.each(["gzip", "br", "gzip, identity", "x"])("is refused unread when it is encoded: %s", async (encoding) => {
    const request = announced("{}", { "content-encoding": encoding });
    await expect(readBody(request, LIMIT)).rejects.toMatchObject({ code: "unsupported_media_type" });
    expect(request.bodyUsed).toBe(false);
  });

  it("is read when it is encoded by name only", async () => {
    expect(await readBody(announced("{}", { "content-encoding": "Identity" }), LIMIT)).toBe("{}");
  });

  it("is refused when it breaks off", async () => {
    const body = new ReadableStream({ pull: (controller) => controller.error(new Error("reset")) });
    const request = new Request("http://localhost/", { method: "POST", body, duplex: "half" } as RequestInit); // as above
    await expect(readBody(request, LIMIT)).rejects.toMatchObject({
      code: "bad_request",
      message: expect.stringContaining("broke off"),
    });
  });
});

function chunkedWithLength(): Request {
  const request = streamed(["0123456789a"]);
  const headers = new Headers({ "content-length": "1", "transfer-encoding": "chunked" });
  return { headers, body: request.body, text: () => request.text() } as Request; // all that is read of it
}
