import { describe, expect, test } from "vitest";
import { AcpiPm } from "../../sim/devices/acpi-pm.ts";
import { ManualTime } from "./fixtures.ts";

const BASE = 0x600;

function pm() {
  const time = new ManualTime();
  const sci = { level: false };
  const seen = { off: 0 };
  const chip = new AcpiPm({
    time,
    sci: {
      set: (level) => {
        sci.level = level;
      },
    },
    onPowerOff: () => seen.off++,
  });
  chip.reset();
  const seconds = (s: number): void => {
    time.ticks = Math.round(s * time.ticksPerSecond);
    if (chip.nextDeadline() <= time.ticks) chip.due(time.ticks);
  };
  return { chip, time, sci, seen, seconds };
}

describe("the PM timer", () => {
  test("counts 3.579545 MHz in 24 bits", () => {
    const { chip, seconds } = pm();
    seconds(1);
    expect(chip.readPort(BASE + 8, 4)).toBe(3_579_545);
    seconds(10);
    expect(chip.readPort(BASE + 8, 4)).toBe(35_795_450 % 2 ** 24);
  });

  test("sets its status when bit 23 changes, and interrupts when that is enabled, until the status is cleared", () => {
    const { chip, sci, seconds } = pm();
    seconds(2.3);
    expect(chip.readPort(BASE, 2)).toBe(0);
    seconds(2.4);
    expect([chip.readPort(BASE, 2), sci.level]).toEqual([1, false]);
    chip.writePort(BASE + 2, 2, 1);
    expect(sci.level).toBe(true);
    chip.writePort(BASE, 2, 1);
    expect([chip.readPort(BASE, 2), sci.level]).toEqual([0, false]);
    // Enabled: it is its own alarm.
    seconds(4.68);
    expect(sci.level).toBe(false);
    seconds(4.7);
    expect(sci.level).toBe(true);
  });
});

test("status bits go by writing ones, enable bits are stored, of both only those that exist", () => {
  const { chip, sci } = pm();
  chip.writePort(BASE + 2, 2, 0xffff);
  expect(chip.readPort(BASE + 2, 2)).toBe(0x0521);
  chip.pressPowerButton();
  expect([chip.readPort(BASE, 4) >>> 0, sci.level]).toEqual([0x05210100, true]);
  chip.writePort(BASE, 1, 0xff);
  expect(sci.level).toBe(true);
  chip.writePort(BASE + 1, 1, 0x01);
  expect(sci.level).toBe(false);
});

test("the machine is in ACPI mode, and SLP_EN with the type of S5 switches it off", () => {
  const { chip, seen } = pm();
  expect(chip.readPort(BASE + 4, 2)).toBe(1);
  chip.writePort(BASE + 4, 2, 0x1c00);
  expect([chip.readPort(BASE + 4, 2), seen.off]).toEqual([0x1c01, 0]);
  chip.writePort(BASE + 4, 2, 0x2000 | (5 << 10));
  expect([chip.readPort(BASE + 4, 2), seen.off]).toEqual([0x1401, 0]);
  chip.writePort(BASE + 4, 2, 0x2000 | (7 << 10));
  expect(seen.off).toBe(1);
});
