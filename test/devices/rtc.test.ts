import { describe, expect, test } from "vitest";
import { CMOS, type CmosContents, DEFAULT_START_DATE, RTC_FREQUENCY, Rtc } from "../../sim/devices/rtc.ts";
import { PulseClock } from "../../sim/devices/time.ts";
import { ManualTime, sequence } from "./fixtures.ts";

const PULSES = new PulseClock(RTC_FREQUENCY, new ManualTime().ticksPerSecond);
const SECOND = 32_768;
const MB = 1024 * 1024;

function clock(start = DEFAULT_START_DATE, contents: CmosContents = { memoryBytes: 64 * MB, disk: null }) {
  const time = new ManualTime();
  const line = { level: false, edges: 0 };
  const set = (level: boolean): void => {
    if (level && !line.level) line.edges++;
    line.level = level;
  };
  const rtc = new Rtc(time, { set }, start, contents);
  const read = (index: number): number => {
    rtc.writePort(0x70, 1, index);
    return rtc.readPort(0x71);
  };
  const write = (index: number, value: number): void => {
    rtc.writePort(0x70, 1, index);
    rtc.writePort(0x71, 1, value);
  };
  /** Moves the time to a pulse of the crystal, letting what falls due happen at its moment. */
  const to = (pulse: number): void => {
    const end = PULSES.ticksOf(pulse);
    while (rtc.nextDeadline() <= end) {
      time.ticks = Math.max(time.ticks, rtc.nextDeadline());
      rtc.due();
    }
    time.ticks = end;
  };
  const date = (): number[] => [9, 8, 7, 4, 2, 0].map(read);
  return { rtc, time, line, read, write, to, date };
}

describe("clock and calendar", () => {
  test("the clock starts at 2006-10-21 00:00:00, a Saturday, in BCD and 24 hours", () => {
    const { read, date } = clock();
    expect(date()).toEqual([0x06, 0x10, 0x21, 0, 0, 0]);
    expect([read(6), read(0x0b), read(0x0d), read(CMOS.century)]).toEqual([7, 0x02, 0x80, 0x20]);
  });

  test("a second has passed at the first tick of pulse 32 768 of the crystal, not before, however late", () => {
    const { time, read, to } = clock();
    time.ticks = PULSES.ticksOf(SECOND) - 1;
    expect(read(0)).toBe(0);
    time.ticks++;
    expect(read(0)).toBe(1);
    to(59 * SECOND);
    expect(read(0)).toBe(0x59);
    // 3 800 MHz x 12 ticks: exact after a day and a half, too
    time.ticks = 3_800_000_000 * 12 * 36 * 3600 - 1;
    expect([read(4), read(2), read(0)]).toEqual([0x11, 0x59, 0x59]);
    time.ticks++;
    expect([read(7), read(4), read(2), read(0)]).toEqual([0x22, 0x12, 0, 0]);
  });

  const ends = [
    [{ year: 2006, month: 12, day: 31 }, [0x07, 0x01, 0x01]],
    [{ year: 2008, month: 2, day: 28 }, [0x08, 0x02, 0x29]],
    [{ year: 2007, month: 2, day: 28 }, [0x07, 0x03, 0x01]],
    [{ year: 2007, month: 4, day: 30 }, [0x07, 0x05, 0x01]],
    [{ year: 2099, month: 12, day: 31 }, [0x00, 0x01, 0x01]],
  ] as const;
  test.each(ends)("after %o midnight comes %j", (day, next) => {
    const { to, date, read } = clock({ ...day, hours: 23, minutes: 59, seconds: 59 });
    const weekday = read(6);
    to(SECOND);
    expect(date()).toEqual([...next, 0, 0, 0]);
    expect(read(6)).toBe((weekday % 7) + 1);
  });

  test("days of the week agree with the calendar", () => {
    const weekday = (year: number, month: number, day: number): number =>
      clock({ ...DEFAULT_START_DATE, year, month, day }).read(6);
    expect([weekday(2000, 1, 1), weekday(2000, 3, 1), weekday(2024, 2, 29), weekday(2099, 12, 31)]).toEqual([
      7, 4, 5, 5,
    ]);
  });

  test("a start date that is none is refused", () => {
    expect(() => clock({ ...DEFAULT_START_DATE, month: 2, day: 30 })).toThrow("month 2 has no day 30");
    expect(() => clock({ ...DEFAULT_START_DATE, year: 1999 })).toThrow("1999");
  });

  test("binary registers count in binary, twelve-hour ones with PM in bit 7", () => {
    const { read, write, to } = clock();
    write(0x0b, 0x04);
    write(0, 59);
    write(2, 59);
    write(4, 11);
    to(SECOND);
    expect([read(4), read(2), read(0)]).toEqual([0x8c, 0, 0]);
    write(0, 59);
    write(2, 59);
    to(2 * SECOND);
    expect(read(4)).toBe(0x81);
    write(0, 59);
    write(2, 59);
    write(4, 0x8b);
    write(7, 21);
    to(3 * SECOND);
    expect([read(4), read(7)]).toEqual([12, 22]);
  });

  test("SET holds the calendar and disables the update interrupt; the divider runs on", () => {
    const { read, write, to } = clock();
    write(0x0b, 0x92);
    expect(read(0x0b)).toBe(0x82);
    to(3.5 * SECOND);
    expect([read(0), read(0x0c)]).toEqual([0, 0x40]);
    write(0x0b, 0x02);
    to(4 * SECOND - 1);
    expect(read(0)).toBe(0);
    to(4 * SECOND);
    expect(read(0)).toBe(1);
  });

  test("the first update comes half a second after the divider has left its reset", () => {
    const { read, write, to } = clock();
    write(0x0a, 0x66);
    to(10 * SECOND);
    expect(read(0)).toBe(0);
    write(0x0a, 0x26);
    to(10.5 * SECOND - 1);
    expect(read(0)).toBe(0);
    to(10.5 * SECOND);
    expect(read(0)).toBe(1);
  });

  test("UIP is set for 244 us before an update and during its 1 984 us", () => {
    const { read, to } = clock();
    to(SECOND - 74);
    expect(read(0x0a)).toBe(0x26);
    to(SECOND - 73);
    expect(read(0x0a)).toBe(0xa6);
    to(SECOND - 1);
    expect(read(0x0a)).toBe(0xa6);
    to(SECOND);
    expect(read(0x0a)).toBe(0x26);
  });
});

describe("interrupts", () => {
  test("the periodic interrupt comes at the rate of register A, once until register C is read", () => {
    const { rtc, line, read, write, to } = clock();
    write(0x0a, 0x26);
    write(0x0b, 0x42);
    expect(rtc.nextDeadline()).toBe(PULSES.ticksOf(32));
    to(31);
    expect(line.level).toBe(false);
    to(32);
    expect(line.level).toBe(true);
    expect(rtc.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
    to(100);
    expect([read(0x0c), line.level]).toEqual([0xc0, false]);
    to(127);
    expect(line.edges).toBe(1);
    to(128);
    expect(line.edges).toBe(2);
  });

  test.each([
    [1, 128],
    [2, 256],
    [3, 4],
    [8, 128],
    [15, 16384],
  ])("rate %i is a period of %i pulses", (rate, pulses) => {
    const { rtc, write } = clock();
    write(0x0a, 0x20 | rate);
    write(0x0b, 0x42);
    expect(rtc.nextDeadline()).toBe(PULSES.ticksOf(pulses));
  });

  test("rate 0 is none, and flags are set without their enables, but not IRQF", () => {
    const { rtc, line, read, write, to } = clock();
    to(SECOND);
    expect([read(0x0c), line.edges]).toEqual([0x50, 0]);
    write(0x0a, 0x20);
    write(0x0b, 0x42);
    expect(rtc.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
  });

  test("the update-ended interrupt comes each second", () => {
    const { line, read, write, to } = clock();
    write(0x0a, 0x20);
    write(0x0b, 0x12);
    to(3 * SECOND - 1);
    expect(read(0x0c)).toBe(0x90);
    to(3 * SECOND);
    expect([line.edges, read(0x0c), read(0x0c)]).toEqual([2, 0x90, 0]);
  });

  test("an alarm compares hours, minutes and seconds, and C0h to FFh match everything", () => {
    const { line, read, write, to } = clock();
    write(0x0a, 0x20);
    write(0x0b, 0x22);
    write(1, 0x05);
    write(3, 0x01);
    write(5, 0x00);
    to(65 * SECOND - 1);
    expect(line.level).toBe(false);
    to(65 * SECOND);
    expect([line.level, read(0x0c)]).toEqual([true, 0xb0]);
    write(3, 0xff);
    write(5, 0xc0);
    to(125 * SECOND - 1);
    expect(line.edges).toBe(1);
    to(125 * SECOND);
    expect(line.edges).toBe(2);
  });

  test("RESET# clears enables and flags and keeps calendar and RAM", () => {
    const { rtc, line, read, write, to } = clock();
    write(0x40, 0x5a);
    write(0x0b, 0x7a);
    to(SECOND);
    rtc.reset();
    expect(line.level).toBe(false);
    expect([read(0x0b), read(0x0c), read(0), read(0x40)]).toEqual([0x02, 0, 1, 0x5a]);
  });
});

describe("CMOS RAM", () => {
  const word = (read: (index: number) => number, at: number): number => read(at) | (read(at + 1) << 8);

  test.each([
    [64, 640, 63 * 1024, 768],
    [16, 640, 15 * 1024, 0],
    [0.5, 512, 0, 0],
    [512, 640, 0xffff, 496 * 16],
  ])("of %d MB, %i KB are base memory, %i KB extended, %i x 64 KB above 16 MB", (megabytes, base, extended, above) => {
    const { read } = clock(undefined, { memoryBytes: megabytes * MB, disk: null });
    expect([0x15, 0x17, 0x30, 0x34].map((at) => word(read, at))).toEqual([base, extended, extended, above]);
  });

  test("a disk is of type 47 with its geometry, and none is type 0", () => {
    const { read } = clock(undefined, { memoryBytes: MB, disk: { cylinders: 1024, heads: 16, sectors: 63 } });
    expect([0x10, 0x12, 0x14, 0x19].map(read)).toEqual([0, 0xf0, 0x06, 47]);
    expect([word(read, 0x1b), read(0x1d), read(0x20), word(read, 0x21), read(0x23)]).toEqual([1024, 16, 8, 1024, 63]);
    expect(clock().read(0x12)).toBe(0);
  });

  test("the checksum of bytes 10h to 2Dh is right, high byte first", () => {
    const { read } = clock(undefined, { memoryBytes: 512 * MB, disk: { cylinders: 4, heads: 4, sectors: 32 } });
    let sum = 0;
    for (let i = 0x10; i <= 0x2d; i++) sum += read(i);
    expect((read(0x2e) << 8) | read(0x2f)).toBe(sum);
  });

  test("registers C and D cannot be written, the index cannot be read, and bit 7 of it masks NMI", () => {
    const { rtc, read, write } = clock();
    write(0x0d, 0);
    write(0x0c, 0xff);
    expect([read(0x0d), read(0x0c), rtc.readPort(0x70), rtc.nmiMasked]).toEqual([0x80, 0, 0xff, false]);
    rtc.writePort(0x70, 1, 0x8d);
    expect([rtc.readPort(0x71), rtc.nmiMasked]).toEqual([0x80, true]);
  });
});

test("a clock restored at any moment goes on alike", () => {
  const random = sequence(146_818);
  const first = clock();
  for (let i = 0; i < 400; i++) {
    const second = clock();
    second.time.ticks = first.time.ticks;
    second.rtc.restore(JSON.parse(JSON.stringify(first.rtc.save())) as ReturnType<Rtc["save"]>);
    const [choice, index, value, step] = [random(3), random(14), random(256), random(40_000)];
    const pulse = PULSES.pulsesAt(first.time.ticks) + step;
    const act = ({ read, write, to }: ReturnType<typeof clock>): number => {
      if (choice === 0) write(index, index === 10 ? value & 0x6f : value);
      else if (choice === 1) return read(index);
      else to(pulse);
      return 0;
    };
    expect(act(second)).toBe(act(first));
    expect(second.rtc.save()).toEqual(first.rtc.save());
    expect(second.rtc.nextDeadline()).toBe(first.rtc.nextDeadline());
  }
});
