/** How much one caller may ask for: nobody's limit is another's, and what is refused says when to come back. */
import { describe, expect, it } from "vitest";
import { type CallerLimits, limitCallers } from "../../src/auth/limits.js";
import { ANYONE, type Authenticate } from "../../src/core/caller.js";
import { createFakeClock } from "../support/fake-clock.js";

const identified: Authenticate = async ({ headers }) => {
  const identity = headers.get("x-user") ?? "";
  return { ...ANYONE, user: { identity, display_name: identity, is_authenticated: true, permissions: [] } };
};

function limited(limits: Partial<CallerLimits>) {
  const clock = createFakeClock();
  const authenticate = limitCallers(identified, { requestsPerMinute: null, openStreams: null, ...limits }, clock);
  const ask = (user: string) => authenticate(new Request("http://localhost/", { headers: { "x-user": user } }));
  return { clock, ask };
}

const TOO_MANY = { code: "too_many_requests" };

describe("requests", () => {
  it("may come at once for a minute, then as many as the minute allows", async () => {
    const { clock, ask } = limited({ requestsPerMinute: 3 });
    for (let count = 0; count < 3; count++) await ask("ada");
    await expect(ask("ada")).rejects.toMatchObject({ ...TOO_MANY, details: { retry_after: 20 } });
    clock.advance(19_000);
    await expect(ask("ada")).rejects.toMatchObject({ ...TOO_MANY, details: { retry_after: 1 } });
    clock.advance(1_000);
    await ask("ada");
    await expect(ask("ada")).rejects.toMatchObject(TOO_MANY);
    clock.advance(3_600_000);
    for (let count = 0; count < 3; count++) await ask("ada");
    await expect(ask("ada")).rejects.toMatchObject(TOO_MANY);
  });

  it("of one caller are not another's", async () => {
    const { ask } = limited({ requestsPerMinute: 1 });
    await ask("ada");
    await ask("eve");
    await expect(ask("ada")).rejects.toMatchObject(TOO_MANY);
  });

  it("of more callers than are remembered stay counted while they count", async () => {
    const { clock, ask } = limited({ requestsPerMinute: 1 });
    await ask("ada");
    for (let caller = 0; caller < 10_001; caller++) await ask(`c${caller}`);
    await expect(ask("ada")).rejects.toMatchObject(TOO_MANY);
    clock.advance(60_000);
    await ask("ada");
  });
});

describe("streams", () => {
  it("are counted while they are open, each once", async () => {
    const { ask } = limited({ openStreams: 2 });
    const [first, second] = [(await ask("ada")).enterStream(), (await ask("ada")).enterStream()];
    const third = await ask("ada");
    expect(() => third.enterStream()).toThrow("2 event streams are open already");
    (await ask("eve")).enterStream();
    first();
    first();
    third.enterStream();
    expect(() => third.enterStream()).toThrow("2 event streams are open already");
    second();
    third.enterStream();
  });
});
