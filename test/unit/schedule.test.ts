/** When crons fire (S6): by the calendar of their zone, never more often than allowed, the latest of what was missed. */
import { describe, expect, it } from "vitest";
import { dueTick, nextTick, requireTimetable, type Timetable } from "../../src/crons/schedule.js";

const at = (text: string): number => Date.parse(text.endsWith("Z") ? text : `${text}Z`);

function timetable(schedule: string, rest: Partial<Timetable> = {}): Timetable {
  return { schedule, timezone: null, endAt: null, ...rest };
}

/** The next `count` ticks after `from`, as UTC without seconds. */
function ticksOf(table: Timetable, from: string, count = 4): readonly string[] {
  const ticks: string[] = [];
  for (let tick = nextTick(table, at(from)); tick !== null; tick = nextTick(table, tick)) {
    ticks.push(new Date(tick).toISOString().replace(":00.000Z", ""));
    if (ticks.length === count) break;
  }
  return ticks;
}

describe("the ticks of a schedule", () => {
  it.each([
    ["*/20 * * * *", ["2026-01-01T00:20", "2026-01-01T00:40", "2026-01-01T01:00"]],
    ["30 9 * * MON-FRI", ["2026-01-01T09:30", "2026-01-02T09:30", "2026-01-05T09:30"]],
    ["0 0 1 JAN,jul *", ["2026-07-01T00:00", "2027-01-01T00:00", "2027-07-01T00:00"]],
    ["0 12 * * 7", ["2026-01-04T12:00", "2026-01-11T12:00", "2026-01-18T12:00"]],
    ["0 0 13 * 5", ["2026-01-02T00:00", "2026-01-09T00:00", "2026-01-13T00:00"]], // the 13th, or a Friday
    ["0 0 29 2 *", ["2028-02-29T00:00", "2032-02-29T00:00", "2036-02-29T00:00"]],
    ["0 0 31 * *", ["2026-01-31T00:00", "2026-03-31T00:00", "2026-05-31T00:00"]],
    ["0 0 L * *", ["2026-01-31T00:00", "2026-02-28T00:00", "2026-03-31T00:00"]],
    ["0 0 15W * *", ["2026-01-15T00:00", "2026-02-16T00:00", "2026-03-16T00:00"]],
    ["0 0 * * 5#2", ["2026-01-09T00:00", "2026-02-13T00:00", "2026-03-13T00:00"]],
    ["0 0 * * FRI#L", ["2026-01-30T00:00", "2026-02-27T00:00", "2026-03-27T00:00"]],
    ["  0\t0  1 1 *\n", ["2027-01-01T00:00", "2028-01-01T00:00", "2029-01-01T00:00"]],
  ])("%s", (schedule, expected) => {
    expect(ticksOf(timetable(schedule), "2026-01-01T00:00:00", 3)).toEqual(expected);
  });

  it("are never the moment after which they are asked for, and always whole minutes", () => {
    const table = timetable("0 5 * * *");
    expect(nextTick(table, at("2026-01-01T04:59:59.999"))).toBe(at("2026-01-01T05:00:00"));
    expect(nextTick(table, at("2026-01-01T05:00:00"))).toBe(at("2026-01-02T05:00:00"));
    expect(nextTick(table, at("2026-01-01T05:00:00.001"))).toBe(at("2026-01-02T05:00:00"));
  });

  it("end with the end, which is still in", () => {
    const table = timetable("0 * * * *", { endAt: at("2026-01-01T02:00:00") });
    expect(ticksOf(table, "2026-01-01T00:00:00")).toEqual(["2026-01-01T01:00", "2026-01-01T02:00"]);
  });
});

describe("where the clocks change", () => {
  it.each([
    // Berlin: 29 March 2026 has no 02:00 to 03:00, 25 October has it twice.
    [
      "a time that does not exist",
      "30 2 * * *",
      "Europe/Berlin",
      "2026-03-28T12:00:00",
      ["2026-03-29T01:00", "2026-03-30T00:30"],
    ],
    [
      "a list of times, one of which does not exist",
      "30 2,14 * * *",
      "Europe/Berlin",
      "2026-03-28T18:00:00",
      ["2026-03-29T01:00", "2026-03-29T12:30"],
    ],
    [
      "two times that become one",
      "0 2,3 * * *",
      "Europe/Berlin",
      "2026-03-28T12:00:00",
      ["2026-03-29T01:00", "2026-03-30T00:00"],
    ],
    [
      "every half hour, over the gap",
      "*/30 * * * *",
      "Europe/Berlin",
      "2026-03-29T00:00:00",
      ["2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T01:30"],
    ],
    [
      "a time that comes twice",
      "30 2 * * *",
      "Europe/Berlin",
      "2026-10-24T12:00:00",
      ["2026-10-25T00:30", "2026-10-26T01:30"],
    ],
    [
      "every half hour, through the repeated hour",
      "*/30 * * * *",
      "Europe/Berlin",
      "2026-10-25T00:00:00",
      ["2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30", "2026-10-25T02:00"],
    ],
    [
      "midnight, before and after",
      "0 0 * * *",
      "Europe/Berlin",
      "2026-10-24T12:00:00",
      ["2026-10-24T22:00", "2026-10-25T23:00"],
    ],
    // New York: 8 March and 1 November 2026.
    [
      "a time that does not exist",
      "30 2 * * *",
      "America/New_York",
      "2026-03-07T12:00:00",
      ["2026-03-08T07:00", "2026-03-09T06:30"],
    ],
    [
      "a time that comes twice",
      "30 1 * * *",
      "America/New_York",
      "2026-10-31T12:00:00",
      ["2026-11-01T05:30", "2026-11-02T06:30"],
    ],
    [
      "the hour that comes twice, by a wildcard",
      "*/30 1 * * *",
      "America/New_York",
      "2026-10-31T12:00:00",
      ["2026-11-01T05:00", "2026-11-01T05:30", "2026-11-01T06:00", "2026-11-01T06:30"],
    ],
    // A zone whose summer time is half an hour.
    [
      "half an hour that does not exist",
      "15 2 * * *",
      "Australia/Lord_Howe",
      "2026-10-03T00:00:00",
      ["2026-10-03T15:30", "2026-10-04T15:15"],
    ],
  ])("%s fires as often as it should: %s in %s", (_what, schedule, timezone, from, expected) => {
    expect(ticksOf(timetable(schedule, { timezone }), from, expected.length)).toEqual(expected);
  });

  it.each(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])(
    "a daily cron fires once on every day of the year in %s",
    (timezone) => {
      const dateIn = new Intl.DateTimeFormat("en-CA", { timeZone: timezone });
      const table = timetable("15 2 * * *", { timezone });
      const dates: string[] = [];
      for (let tick = nextTick(table, at("2025-12-31T12:00:00")); tick !== null; tick = nextTick(table, tick)) {
        dates.push(dateIn.format(tick));
        if (dates.length === 365) break;
      }
      expect(new Set(dates).size).toBe(365);
      expect([dates[0], dates.at(-1)]).toEqual(["2026-01-01", "2026-12-31"]);
    },
  );
});

describe("a timetable", () => {
  const rules = { now: at("2026-01-01T00:00:00"), minIntervalMs: 60_000 };
  const refused = (message: string) =>
    expect.objectContaining({ code: "validation", message: expect.stringContaining(message) });

  it.each([
    ["", "five fields"],
    ["* * * *", "five fields"],
    ["* * * * * *", "five fields"],
    ["0 0 1 1 * 2027", "five fields"],
    ["@daily", "five fields"],
    ["@reboot", "five fields"],
    ["2026-01-01T00:00:00Z", "five fields"],
    ["60 * * * *", "minute: 60"],
    ["* 24 * * *", "hour: 24"],
    ["* * 0 * *", "day"],
    ["* * * 13 *", "month"],
    ["* * * * 8", "dayOfWeek: 8"],
    ["*/0 * * * *", "stepping"],
    ["5/15 * * * *", "stepping"],
    ["9-5 * * * *", "larger"],
    ["1,,2 * * * *", "empty"],
    ["1.5 * * * *", "illegal"],
    ["H * * * *", "illegal"],
    ["? 0 * * *", '"*" instead'],
    ["0 0 ? * 1", '"*" instead'],
    ["* * * * 5#6", "1-5"],
    ["0 0 30 2 *", "no date"],
    ["0 0 31 4,6 *", "no date"],
  ])("with the schedule %j is refused", (schedule, message) => {
    expect(() => requireTimetable(timetable(schedule), rules)).toThrow(refused(message));
    expect(() => requireTimetable(timetable(schedule), rules)).toThrow(refused("schedule: "));
  });

  it.each(["Nope/Zone", "", "+02:00", "Europe/Berlin ", "Europe Berlin", "__proto__", "Berlin\u0000"])(
    "in the zone %j is refused",
    (timezone) => {
      expect(() => requireTimetable(timetable("0 0 * * *", { timezone }), rules)).toThrow(refused("timezone: "));
    },
  );

  it.each(["UTC", "Europe/Berlin", "Etc/GMT+5", "America/Argentina/Buenos_Aires", "America/Port-au-Prince"])(
    "in the zone %s is taken",
    (timezone) => expect(() => requireTimetable(timetable("0 0 * * *", { timezone }), rules)).not.toThrow(),
  );

  it.each<[minutes: number, schedule: string, isRefused: boolean]>([
    [1, "* * * * *", false],
    [2, "* * * * *", true],
    [5, "*/5 * * * *", false],
    [5, "*/4 * * * *", true],
    [10, "0,5 12 * * *", true],
    [5, "0,7,12 12 * * *", false],
    [60, "59 23 * * *", false],
    [90, "30 0,23 * * *", true], // 23:30, and 00:30 on the next day
    [90, "30 0,23 1,15 * *", false], // no two days in a row
    [90, "30 0,23 1,15,16 * *", true],
    [90, "30 0,23 L,1 * *", true],
    [90, "30 0,23 29 2 *", false],
    [1_440, "0 0 * * *", false],
    [1_440, "0 0,12 * * *", true],
    [1_440, "0 0 * * 1", false],
  ])("that may come due every %d minutes at most: %s", (minutes, schedule, isRefused) => {
    const check = (): void => requireTimetable(timetable(schedule), { ...rules, minIntervalMs: minutes * 60_000 });
    if (isRefused) expect(check).toThrow(refused(`more often than every ${minutes * 60} s`));
    else expect(check).not.toThrow();
  });
});

describe("a cron that is due", () => {
  const hourly = timetable("0 * * * *");
  const due = (table: Timetable, dueAt: string, now: string) => {
    const { at: tick, missed, nextAt } = dueTick(table, { dueAt: at(dueAt), now: at(now) });
    const shown = (time: number | null) => time && new Date(time).toISOString().slice(8, 16);
    return [shown(tick), missed, shown(nextAt)];
  };

  it.each([
    ["on time", "2026-01-01T05:00:00", ["01T05:00", false, "01T06:00"]],
    ["a little late", "2026-01-01T05:59:59.999", ["01T05:00", false, "01T06:00"]],
    ["when the next one is due as well", "2026-01-01T06:00:00", ["01T06:00", true, "01T07:00"]],
    ["days later", "2026-01-09T17:30:00", ["09T17:00", true, "09T18:00"]],
  ])("fires its latest tick, and goes on from there: %s", (_when, now, expected) => {
    expect(due(hourly, "2026-01-01T05:00:00", now)).toEqual(expected);
  });

  it("fires a tick that its zone does not know any more", () => {
    expect(due(timetable("0 12 * * *"), "2026-01-01T11:00:00", "2026-01-01T11:00:01")).toEqual([
      "01T11:00",
      false,
      "01T12:00",
    ]);
  });

  it.each([
    ["05:30:00", "05:00:00", ["01T05:00", false, null]],
    ["05:00:00", "05:00:01", ["01T05:00", false, null]], // the end itself
    ["05:00:00", "05:00:59", ["01T05:00", false, null]],
    ["07:10:00", "08:00:00", [null, true, null]], // missed, and over
    ["07:10:00", "07:10:30", ["01T07:00", true, null]],
    ["08:00:00", "07:30:00", ["01T07:00", true, "01T08:00"]],
  ])("with the end %s fires at %s what is before it", (end, now, expected) => {
    const table = { ...hourly, endAt: at(`2026-01-01T${end}`) };
    expect(due(table, "2026-01-01T05:00:00", `2026-01-01T${now}`)).toEqual(expected);
  });
});
