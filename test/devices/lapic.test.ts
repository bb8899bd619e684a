import { describe, expect, test } from "vitest";
import { apicTimerDivider } from "../../sim/devices/apic-timer.ts";
import { APIC, LocalApic } from "../../sim/devices/lapic.ts";
import { PulseClock } from "../../sim/devices/time.ts";
import { ManualTime, sequence } from "./fixtures.ts";

const BUS = { numerator: 200_000_000, denominator: 1 };

function apic(enabled = true) {
  const time = new ManualTime();
  const nmi = { count: 0 };
  const lapic = new LocalApic({ id: 0, time, busClock: BUS, onNmi: () => nmi.count++ });
  const write = (offset: number, value: number): void => lapic.write(offset, 4, value);
  const read = (offset: number): number => lapic.read(offset, 4);
  const self = (vector: number): void => write(APIC.icrLow, 0x40000 | vector);
  if (enabled) write(APIC.svr, 0x1ff);
  return { lapic, time, nmi, write, read, self };
}

/** One tick of the 200 MHz bus at 3.8 GHz: 19 cycles. */
const BUS_TICKS = 19 * 12;

describe("local APIC registers", () => {
  test("after reset it is software-disabled, all entries are masked, the destination format is flat", () => {
    const { read } = apic(false);
    expect(read(APIC.svr)).toBe(0xff);
    expect(read(APIC.dfr)).toBe(0xffffffff);
    for (let offset = APIC.lvtTimer; offset <= APIC.lvtError; offset += 16) expect(read(offset)).toBe(0x10000);
    expect([read(APIC.id), read(APIC.version), read(APIC.tpr)]).toEqual([0, 0x50014, 0]);
  });

  test("the software enable bit cleared masks every entry and keeps it masked", () => {
    const { write, read } = apic();
    write(APIC.lvtTimer, 0x40);
    expect(read(APIC.lvtTimer)).toBe(0x40);
    write(APIC.svr, 0xff);
    write(APIC.lvtTimer, 0x41);
    expect(read(APIC.lvtTimer)).toBe(0x10041);
  });

  test("reserved bits of the entries read as zero", () => {
    const { write, read } = apic();
    for (const [offset, bits] of [
      [APIC.lvtTimer, 0x300ff],
      [APIC.lvtThermal, 0x107ff],
      [APIC.lvtLint0, 0x1a7ff],
      [APIC.lvtError, 0x100ff],
    ] as const) {
      write(offset, 0xffffffff);
      expect(read(offset)).toBe(bits);
    }
  });

  test("an unimplemented register is an error that a write to the ESR shows", () => {
    const { write, read } = apic();
    expect(read(0x3f0)).toBe(0);
    expect(read(APIC.esr)).toBe(0);
    write(APIC.esr, 0);
    expect(read(APIC.esr)).toBe(0x80);
    write(APIC.esr, 0);
    expect(read(APIC.esr)).toBe(0);
  });

  test("an error interrupts through its entry", () => {
    const { lapic, write, read } = apic();
    write(APIC.lvtError, 0x52);
    read(0x3f0);
    expect(lapic.acknowledge()).toBe(0x52);
  });

  test("narrow reads give part of a register, narrow writes do nothing", () => {
    const { lapic, write, read } = apic();
    write(APIC.svr, 0x123);
    expect([lapic.read(APIC.svr, 1), lapic.read(APIC.svr + 1, 1), lapic.read(APIC.svr, 2)]).toEqual([0x23, 1, 0x123]);
    lapic.write(APIC.tpr, 1, 0x20);
    expect(read(APIC.tpr)).toBe(0);
  });
});

describe("local APIC priorities", () => {
  test("the highest vector is delivered first and is in service until EOI", () => {
    const { lapic, self, read, write } = apic();
    self(0x41);
    self(0xe2);
    expect(read(APIC.irr + 0x70)).toBe(1 << 2);
    expect(lapic.acknowledge()).toBe(0xe2);
    expect([read(APIC.irr + 0x70), read(APIC.isr + 0x70)]).toEqual([0, 1 << 2]);
    expect(lapic.deliverable).toBe(-1);
    write(APIC.eoi, 0);
    expect(read(APIC.isr + 0x70)).toBe(0);
    expect(lapic.acknowledge()).toBe(0x41);
  });

  test("a vector of the same class waits, one of a higher class interrupts", () => {
    const { lapic, self } = apic();
    self(0x51);
    lapic.acknowledge();
    self(0x5f);
    expect(lapic.deliverable).toBe(-1);
    self(0x60);
    expect(lapic.acknowledge()).toBe(0x60);
  });

  test("TPR holds back its class and those below", () => {
    const { lapic, self, write } = apic();
    write(APIC.tpr, 0x50);
    self(0x5f);
    expect(lapic.deliverable).toBe(-1);
    write(APIC.tpr, 0x4f);
    expect(lapic.deliverable).toBe(0x5f);
    write(APIC.tpr, 0xff);
    self(0xff);
    expect(lapic.deliverable).toBe(-1);
  });

  test("PPR is the task priority or the class in service, whichever is higher", () => {
    const { lapic, self, write, read } = apic();
    write(APIC.tpr, 0x35);
    expect(read(APIC.ppr)).toBe(0x35);
    self(0x72);
    lapic.acknowledge();
    expect(read(APIC.ppr)).toBe(0x70);
    write(APIC.tpr, 0x81);
    expect(read(APIC.ppr)).toBe(0x81);
  });

  test("an acknowledge that finds nothing gives the spurious vector and leaves nothing in service", () => {
    const { lapic, self, write, read } = apic();
    write(APIC.svr, 0x1ef);
    self(0x44);
    write(APIC.tpr, 0x40);
    expect(lapic.acknowledge()).toBe(0xef);
    expect(read(APIC.isr + 0x20)).toBe(0);
    expect(read(APIC.irr + 0x20)).toBe(1 << 4);
  });

  test("an EOI with nothing in service does nothing", () => {
    const { lapic, write } = apic();
    write(APIC.eoi, 0);
    expect(lapic.deliverable).toBe(-1);
  });
});

describe("interrupt commands", () => {
  test("reach this processor by physical identifier, broadcast, self and all-including-self, and nobody else", () => {
    for (const [high, low, arrives] of [
      [0, 0x61, true],
      [0x01000000, 0x61, false],
      [0xff000000, 0x61, true],
      [0, 0x40061, true],
      [0, 0x80061, true],
      [0, 0xc0061, false],
    ] as const) {
      const { lapic, write } = apic();
      write(APIC.icrHigh, high);
      write(APIC.icrLow, low);
      expect(lapic.deliverable).toBe(arrives ? 0x61 : -1);
    }
  });

  test("logical destinations match in the flat and in the cluster model", () => {
    for (const [dfr, ldr, destination, arrives] of [
      [0xffffffff, 0x04000000, 0x06, true],
      [0xffffffff, 0x04000000, 0x0b, false],
      [0x0fffffff, 0x24000000, 0x2c, true],
      [0x0fffffff, 0x24000000, 0x34, false],
    ] as const) {
      const { lapic, write } = apic();
      write(APIC.dfr, dfr);
      write(APIC.ldr, ldr);
      write(APIC.icrHigh, destination * 2 ** 24);
      write(APIC.icrLow, 0x861);
      expect(lapic.deliverable).toBe(arrives ? 0x61 : -1);
    }
  });

  test("an NMI command is delivered as NMI", () => {
    const { nmi, write } = apic();
    write(APIC.icrLow, 0x400);
    expect(nmi.count).toBe(1);
  });

  test("vectors below 16 are not sent but recorded as an error", () => {
    const { lapic, write, read, self } = apic();
    self(15);
    write(APIC.esr, 0);
    expect([lapic.deliverable, read(APIC.esr)]).toEqual([-1, 0x20]);
  });

  test("a disabled APIC takes no fixed interrupt", () => {
    const { lapic, self } = apic(false);
    self(0x61);
    expect(lapic.deliverable).toBe(-1);
  });
});

describe("local interrupt pins", () => {
  test("LINT0 in ExtINT mode passes the request through while it is high and unmasked", () => {
    const { lapic, write } = apic();
    lapic.setLint(0, true);
    expect(lapic.externalInterrupt).toBe(false);
    write(APIC.lvtLint0, 0x700);
    expect(lapic.externalInterrupt).toBe(true);
    write(APIC.tpr, 0xff);
    expect(lapic.externalInterrupt).toBe(true);
    lapic.setLint(0, false);
    expect(lapic.externalInterrupt).toBe(false);
  });

  test("an edge in fixed mode is one interrupt, in NMI mode one NMI", () => {
    const { lapic, nmi, write } = apic();
    write(APIC.lvtLint0, 0x35);
    write(APIC.lvtLint1, 0x400);
    lapic.setLint(0, true);
    lapic.setLint(0, true);
    expect(lapic.acknowledge()).toBe(0x35);
    expect(lapic.deliverable).toBe(-1);
    lapic.setLint(1, true);
    expect(nmi.count).toBe(1);
  });

  test("a level in fixed mode requests again after EOI while it stays high; remote IRR shows it", () => {
    const { lapic, write, read } = apic();
    write(APIC.lvtLint0, 0x8035);
    lapic.setLint(0, true);
    expect(read(APIC.lvtLint0)).toBe(0xc035);
    expect(lapic.acknowledge()).toBe(0x35);
    expect(read(APIC.tmr + 0x10)).toBe(1 << 0x15);
    write(APIC.eoi, 0);
    expect(lapic.acknowledge()).toBe(0x35);
    lapic.setLint(0, false);
    write(APIC.eoi, 0);
    expect([lapic.deliverable, read(APIC.lvtLint0)]).toEqual([-1, 0x8035]);
  });
});

describe("local APIC timer", () => {
  test("the divide configuration is 2 to 128 by bits 3, 1 and 0, and 1", () => {
    expect([0, 1, 2, 3, 8, 9, 10, 11].map(apicTimerDivider)).toEqual([2, 4, 8, 16, 32, 64, 128, 1]);
  });

  test("one-shot: counts down to 0, interrupts once and stays there", () => {
    const { lapic, time, write, read } = apic();
    time.ticks = 7 * BUS_TICKS;
    write(APIC.lvtTimer, 0x31);
    write(APIC.timerDivide, 11);
    write(APIC.timerInitial, 1000);
    expect(lapic.nextDeadline()).toBe(1007 * BUS_TICKS);
    time.ticks = 257 * BUS_TICKS;
    expect(read(APIC.timerCurrent)).toBe(750);
    time.ticks = 1007 * BUS_TICKS;
    lapic.due(time.ticks);
    expect(lapic.acknowledge()).toBe(0x31);
    expect([lapic.nextDeadline(), read(APIC.timerCurrent)]).toEqual([Number.POSITIVE_INFINITY, 0]);
  });

  test("each divider stretches the count by itself", () => {
    for (const code of [0, 1, 2, 3, 8, 9, 10, 11]) {
      const { lapic, write } = apic();
      write(APIC.lvtTimer, 0x31);
      write(APIC.timerDivide, code);
      write(APIC.timerInitial, 3);
      expect(lapic.nextDeadline()).toBe(3 * apicTimerDivider(code) * BUS_TICKS);
    }
  });

  test("periodic: reloads by itself, exactly, on a bus whose period is no whole number of ticks", () => {
    const time = new ManualTime(2_660_000_000 * 12);
    const busClock = { numerator: 800_000_000, denominator: 3 };
    const lapic = new LocalApic({ id: 0, time, busClock, onNmi: () => {} });
    lapic.write(APIC.svr, 4, 0x1ff);
    lapic.write(APIC.lvtTimer, 4, 0x20031);
    lapic.write(APIC.timerDivide, 4, 3);
    lapic.write(APIC.timerInitial, 4, 1001);
    const pulses = new PulseClock(busClock, time.ticksPerSecond);
    for (let n = 1; n <= 500; n++) {
      time.ticks = lapic.nextDeadline();
      expect(time.ticks).toBe(pulses.ticksOf(n * 1001 * 16));
      lapic.due(time.ticks);
      expect(lapic.read(APIC.timerCurrent, 4)).toBe(1001);
      expect(lapic.acknowledge()).toBe(0x31);
      lapic.write(APIC.eoi, 4, 0);
    }
    expect(lapic.ticksLost).toBe(0);
  });

  test("expiries while the vector waits are lost and counted; masked ones are nobody's", () => {
    const { lapic, time, write } = apic();
    write(APIC.lvtTimer, 0x20031);
    write(APIC.timerDivide, 11);
    write(APIC.timerInitial, 100);
    time.ticks = 350 * BUS_TICKS;
    lapic.due(time.ticks);
    expect(lapic.ticksLost).toBe(2);
    time.ticks = 450 * BUS_TICKS;
    lapic.due(time.ticks);
    expect(lapic.ticksLost).toBe(3);
    write(APIC.lvtTimer, 0x30031);
    expect(lapic.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
    time.ticks = 1450 * BUS_TICKS;
    write(APIC.lvtTimer, 0x20031);
    expect([lapic.ticksLost, lapic.nextDeadline()]).toEqual([3, 1500 * BUS_TICKS]);
  });

  test("an initial count of 0 stops it", () => {
    const { lapic, write } = apic();
    write(APIC.lvtTimer, 0x20031);
    write(APIC.timerInitial, 100);
    write(APIC.timerInitial, 0);
    expect(lapic.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
  });

  test("a change of divider or mode goes on from the count reached", () => {
    const { lapic, time, write, read } = apic();
    write(APIC.lvtTimer, 0x31);
    write(APIC.timerDivide, 11);
    write(APIC.timerInitial, 100);
    time.ticks = 40 * BUS_TICKS;
    write(APIC.timerDivide, 0);
    expect(read(APIC.timerCurrent)).toBe(60);
    expect(lapic.nextDeadline()).toBe(160 * BUS_TICKS);
    write(APIC.lvtTimer, 0x20031);
    time.ticks = 160 * BUS_TICKS;
    lapic.due(time.ticks);
    expect(lapic.nextDeadline()).toBe(360 * BUS_TICKS);
  });

  test("a timer vector below 16 is an error, not an interrupt", () => {
    const { lapic, time, write, read } = apic();
    write(APIC.lvtTimer, 0x05);
    write(APIC.timerInitial, 1);
    time.ticks = lapic.nextDeadline();
    lapic.due(time.ticks);
    write(APIC.esr, 0);
    expect([lapic.deliverable, read(APIC.esr)]).toEqual([-1, 0x40]);
  });
});

test("saved at any moment and restored, the local APIC goes on alike", () => {
  const random = sequence(11);
  const { lapic, time } = apic();
  const offsets = Object.values(APIC);
  for (let i = 0; i < 1000; i++) {
    const other = new LocalApic({ id: 0, time, busClock: BUS, onNmi: () => {} });
    other.restore(JSON.parse(JSON.stringify(lapic.save())) as ReturnType<LocalApic["save"]>);
    const offset = offsets[random(offsets.length)] as number;
    const value = offset === APIC.svr ? 0x100 | random(256) : random(0x40000);
    const choice = random(5);
    for (const one of [lapic, other]) {
      if (choice === 0) one.setLint((value & 1) as 0 | 1, (value & 2) !== 0);
      else if (choice === 1) one.acknowledge();
      else if (choice === 2) one.write(offset, 4, value);
      else one.due(time.ticks);
    }
    expect(other.read(offset, 4)).toBe(lapic.read(offset, 4));
    expect(other.save()).toEqual(lapic.save());
    expect(other.nextDeadline()).toBe(lapic.nextDeadline());
    time.ticks += random(100_000);
  }
});
