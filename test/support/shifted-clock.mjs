/**
 * Loaded before a program: its wall clock is off by the milliseconds that the file of HEDDLE_TEST_CLOCK says, which may
 * change at any moment. What measures durations is not touched, as by a system whose administrator sets the time.
 */
import { readFileSync } from "node:fs";

const { HEDDLE_TEST_CLOCK: file } = process.env;
const REREAD_MS = 20;
const SystemDate = Date;
let offsetMs = 0;
let readAt = Number.NEGATIVE_INFINITY;

function now() {
  const since = performance.now();
  if (since - readAt > REREAD_MS) {
    offsetMs = Number(readFileSync(file, "utf8"));
    readAt = since;
  }
  return SystemDate.now() + offsetMs;
}

globalThis.Date = new Proxy(SystemDate, {
  get: (date, key) => (key === "now" ? now : Reflect.get(date, key)),
  construct: (date, args, target) => Reflect.construct(date, args.length === 0 ? [now()] : args, target),
  apply: (date) => new date(now()).toString(),
});
