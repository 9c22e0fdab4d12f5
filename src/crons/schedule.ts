/**
 * When a cron fires. Pure: five fields, a time zone and an end in, epoch milliseconds out.
 *
 * A schedule is read in the time of its zone. Where the clocks change, a schedule of fixed times fires once on that day
 * (at the end of the gap, or the first time that the hour comes), one with wildcards or steps in its minutes or hours
 * goes on in real time.
 */
import { Cron as CronExpression } from "croner";
import { invalid } from "../core/errors.js";
import type { Cron } from "../core/model.js";

export type Timetable = Pick<Cron, "schedule" | "timezone" | "endAt">;

/** What is to be done about a cron that was due at some time. */
export interface DueTick {
  /** The tick to fire; null when that is over. */
  readonly at: number | null;
  /** Whether earlier ticks are passed over for it: nothing fired them in time. */
  readonly missed: boolean;
  /** The one after it; null when there is none. */
  readonly nextAt: number | null;
}

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** Throws `validation`, saying what is wrong, for a timetable that means nothing, never comes due, or does so too often. */
export function requireTimetable(
  { schedule, timezone }: Timetable,
  { now, minIntervalMs }: { readonly now: number; readonly minIntervalMs: number },
): void {
  if (nextTick({ schedule, timezone, endAt: null }, now) === null) {
    throw invalid(`schedule: there is no date at which ${JSON.stringify(schedule)} comes due`);
  }
  if (isMoreOftenThan(minIntervalMs, schedule, now)) {
    throw invalid(`schedule: ${JSON.stringify(schedule)} comes due more often than every ${minIntervalMs / 1_000} s`);
  }
}

/** The first tick after a time; null when there is none, or only after the end. */
export function nextTick({ schedule, timezone, endAt }: Timetable, after: number): number | null {
  const next = parse(schedule, timezone).nextRun(new Date(after))?.getTime() ?? null;
  return next !== null && isBeyond(endAt, next) ? null : next;
}

/**
 * Of a cron that has been due since `dueAt`: its tick, or, when later ones are due by `now`, the latest of them alone. What
 * was missed is not made up for once the end has passed.
 */
export function dueTick(
  timetable: Timetable,
  { dueAt, now }: { readonly dueAt: number; readonly now: number },
): DueTick {
  const { endAt } = timetable;
  if (isBeyond(endAt, now - MINUTE_MS)) return { at: null, missed: true, nextAt: null };
  const nextAt = nextTick(timetable, dueAt);
  if (nextAt === null || nextAt > now) return { at: dueAt, missed: false, nextAt };
  const latest = latestTick(timetable, endAt === null ? now : Math.min(now, endAt));
  return { at: Math.max(latest, dueAt), missed: latest > dueAt, nextAt: nextTick(timetable, now) };
}

function isBeyond(endAt: number | null, time: number): boolean {
  return endAt !== null && time > endAt;
}

/** Of a timetable with a tick at `upTo` or before. */
function latestTick({ schedule, timezone }: Timetable, upTo: number): number {
  const [latest] = parse(schedule, timezone).previousRuns(1, new Date(upTo + 1)); // those before it
  return latest?.getTime() ?? Number.NEGATIVE_INFINITY;
}

/** A name of the IANA database: an offset is none, although some versions of Node take it. */
const TIME_ZONE = /^[A-Za-z][\w+/-]*$/;

function parse(schedule: string, timezone: string | null): CronExpression {
  fieldsOf(schedule);
  const options = {
    paused: true,
    mode: "5-part",
    timezone: requireTimeZone(timezone ?? "UTC"),
    // A list of times is as fixed as a single one: "30 2,14 * * *" must not lose a day to the clocks.
    fixedTimeRule: "no-wildcard",
  } as const;
  try {
    return new CronExpression(schedule, options);
  } catch (error) {
    throw invalid(`schedule: ${reasonOf(error as Error)}`); // croner throws errors
  }
}

/** croner takes nicknames, dates and a sixth field as well; and `?`, which other programs read as the present time. */
function fieldsOf(schedule: string): readonly string[] {
  const fields = schedule.trim().split(/\s+/);
  if (fields.length !== 5) {
    throw invalid("schedule: expected five fields: minute, hour, day of month, month, day of week");
  }
  if (schedule.includes("?")) throw invalid('schedule: write "*" instead of "?"');
  return fields;
}

function requireTimeZone(name: string): string {
  if (!TIME_ZONE.test(name) || !isKnown(name)) {
    throw invalid(`timezone: ${JSON.stringify(name)} is no time zone of the IANA database, such as "Europe/Berlin"`);
  }
  return name;
}

function isKnown(timeZone: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone });
    return true;
  } catch {
    return false; // that is how it says so
  }
}

function reasonOf({ message }: Error): string {
  return message.replace(/^CronPattern: /, "");
}

/** How far the days of a schedule are looked at. */
const HORIZON_MS = 5 * 366 * DAY_MS;

/**
 * Whether two ticks can be closer than `intervalMs`, by the calendar: what a change of the clocks does is not counted. The
 * times of day are the same on each of a schedule's days, so one day and the distance of two days tell all.
 */
function isMoreOftenThan(intervalMs: number, schedule: string, now: number): boolean {
  if (intervalMs <= MINUTE_MS) return false; // five fields cannot
  const [minute, hour, ...days] = fieldsOf(schedule);
  const midnight = Math.floor(now / DAY_MS) * DAY_MS;
  let first: number | undefined;
  let last: number | undefined;
  for (const time of ticks(`${minute} ${hour} * * *`, midnight, midnight + DAY_MS)) {
    if (last !== undefined && time - last < intervalMs) return true;
    first ??= time;
    last = time;
  }
  if (first === undefined || last === undefined) return false;
  const overnight = first + DAY_MS - last;
  if (overnight >= intervalMs) return false;
  let day: number | undefined;
  for (const next of ticks(`0 0 ${days.join(" ")}`, midnight, midnight + HORIZON_MS)) {
    if (day !== undefined && next - day - DAY_MS + overnight < intervalMs) return true;
    day = next;
  }
  return false;
}

/** The ticks of a schedule in UTC, from a time on and before another. */
function* ticks(schedule: string, from: number, before: number): Generator<number> {
  const expression = parse(schedule, null);
  let tick = expression.nextRun(new Date(from - 1));
  while (tick !== null && tick.getTime() < before) {
    yield tick.getTime();
    tick = expression.nextRun(tick);
  }
}
