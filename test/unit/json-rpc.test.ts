/** JSON-RPC: what is a message, and what an error is told as. */
import { describe, expect, it } from "vitest";
import { conflict, GatewayError } from "../../src/core/errors.js";
import type { Json } from "../../src/core/model.js";
import {
  failure,
  idOf,
  invalidParams,
  RPC_ERRORS,
  readMessage,
  rpcErrorOf,
  success,
} from "../../src/faces/json-rpc.js";

describe("a message", () => {
  it("is a request with an id, and without params has none", () => {
    const request = { kind: "request", id: 1, method: "m", params: {} };
    expect(readMessage({ jsonrpc: "2.0", id: 1, method: "m" })).toEqual(request);
    expect(readMessage({ jsonrpc: "2.0", id: "a", method: "m", params: { x: 1 } })).toEqual({
      ...request,
      id: "a",
      params: { x: 1 },
    });
  });

  it("without an id, or with an answer, wants none", () => {
    expect(readMessage({ jsonrpc: "2.0", method: "m" })).toEqual({ kind: "notice" });
    expect(readMessage({ jsonrpc: "2.0", id: 1, result: {} })).toEqual({ kind: "notice" });
  });

  it.each<[Json, number]>([
    [{}, RPC_ERRORS.invalidRequest],
    [null, RPC_ERRORS.invalidRequest],
    ["text", RPC_ERRORS.invalidRequest],
    [{ jsonrpc: "1.0", id: 1, method: "m" }, RPC_ERRORS.invalidRequest],
    [{ jsonrpc: "2.0", id: 1 }, RPC_ERRORS.invalidRequest],
    [{ jsonrpc: "2.0", id: {}, method: "m" }, RPC_ERRORS.invalidRequest],
    [{ jsonrpc: "2.0", id: 1, method: 1 }, RPC_ERRORS.invalidRequest],
    [{ jsonrpc: "2.0", id: 1, method: "m", params: [1] }, RPC_ERRORS.invalidParams],
  ])("is not %j", (value, code) => {
    expect(() => readMessage(value)).toThrow(expect.objectContaining({ code }));
  });
});

describe("an answer", () => {
  it("has the id of what it answers, or none", () => {
    expect(success(1, { a: 1 })).toEqual({ jsonrpc: "2.0", id: 1, result: { a: 1 } });
    expect(failure(null, invalidParams("no"))).toEqual({
      jsonrpc: "2.0",
      id: null,
      error: { code: -32602, message: "no" },
    });
    expect([idOf({ id: "x" }), idOf({ id: {} }), idOf(null), idOf([])]).toEqual(["x", null, null, null]);
  });
});

describe("an error", () => {
  it("of the gateway is one of the call's, with what a client can act on", () => {
    expect(rpcErrorOf(conflict("busy", { at: 1 }))).toMatchObject({
      code: RPC_ERRORS.invalidParams,
      message: "busy",
      data: { code: "conflict", at: 1 },
    });
    expect(rpcErrorOf(new GatewayError("unavailable", "later"))).toMatchObject({ code: RPC_ERRORS.internal });
  });

  it("that is a bug is none of theirs", () => {
    expect(rpcErrorOf(new TypeError("x"))).toBeUndefined();
  });
});
