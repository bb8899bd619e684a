import { describe, expect, test } from "vitest";
import type { BusCharge } from "../../sim/cpu/bus.ts";
import { core2_e6700 } from "../../sim/cpu/profiles/core2-e6700.ts";
import { pentium4_672 } from "../../sim/cpu/profiles/pentium4-672.ts";
import { BOARD_COST_NAMES, BOARDS, boardFor, busTicks, freeTicks, REFERENCE_BOARD } from "../../sim/devices/board.ts";
import { APIC } from "../../sim/devices/lapic.ts";
import { APIC_BASE_RESET, PcBoard, type PcBoardParts } from "../../sim/devices/pc-board.ts";
import { PortMap } from "../../sim/devices/ports.ts";
import { ManualTime, sequence } from "./fixtures.ts";

const APIC_PAGE = 0xfee00000;
const TICKS = busTicks(REFERENCE_BOARD, pentium4_672);

/** A board whose accesses move its time, as a machine's do. */
function machine(extra: Partial<PcBoardParts> = {}) {
  const time = new ManualTime();
  const charges: string[] = [];
  const seen = { changes: 0, exits: 0, serial: "" };
  const apic = { base: APIC_BASE_RESET };
  const charge: BusCharge = {
    deviceWait: (ticks, cost) => {
      time.ticks += ticks;
      charges.push(cost);
    },
  };
  const board = new PcBoard({
    board: REFERENCE_BOARD,
    time,
    ticks: TICKS,
    charge,
    apicBase: () => apic.base,
    onChange: () => seen.changes++,
    onExit: () => seen.exits++,
    onSerial: (port, byte) => {
      seen.serial += `${port}${String.fromCharCode(byte)}`;
    },
    ...extra,
  });
  const out = (port: number, ...values: number[]): void => {
    for (const value of values) board.writePort(port, 1, value);
  };
  /** 8259s at 20h and 28h, all open. */
  const openPic = (): void => {
    out(0x20, 0x11);
    out(0x21, 0x20, 0x04, 0x01, 0);
    out(0xa0, 0x11);
    out(0xa1, 0x28, 0x02, 0x01, 0);
  };
  return { board, time, charges, seen, apic, out, openPic };
}

describe("what accesses take", () => {
  test("IN from port 80h takes the published 3 209 cycles on the Pentium 4, the core's part included (AA06N-004)", () => {
    expect(TICKS.slowPortRead / 12 + pentium4_672.costs.portCore.value).toBe(3209);
  });

  test("the same nanoseconds are fewer cycles for the Core 2", () => {
    const ticks = busTicks(boardFor(core2_e6700), core2_e6700);
    expect(ticks.slowPortRead / TICKS.slowPortRead).toBeCloseTo(2660 / 3800, 4);
  });

  test("each value of a board names its reasoning and is in nanoseconds; the bus clock agrees with its fraction", () => {
    for (const board of BOARDS) {
      for (const name of BOARD_COST_NAMES) {
        const cost = board.costs[name];
        expect(cost.unit).toBe("ns");
        expect(cost.source.length).toBeGreaterThan(10);
      }
      const { numerator, denominator } = board.busClock;
      expect(board.busClockMHz.value).toBeCloseTo(numerator / denominator / 1e6, 2);
    }
  });

  test("every access is charged by name to whoever makes it, and a local APIC register by the core's own price", () => {
    const { board, charges } = machine();
    board.readPort(0x80, 1);
    board.writePort(0x20, 1, 0x20);
    board.readPort(0xcfc, 4);
    board.readMemory(APIC_PAGE + APIC.tpr, 4);
    board.writeMemory(APIC_PAGE + APIC.tpr, 4, 0);
    board.readMemory(0xd0000, 4);
    board.readMemory(0xb8000, 2);
    board.firmware();
    board.readMemory(0xb8000, 2);
    board.writeMemory(0xb8000, 2, 0x0741);
    board.readPort(0x3cc, 1);
    expect(board.vga.text()[0]).toBe("A");
    expect(charges).toEqual([
      "slowPortRead",
      "chipsetPortWrite",
      "northBridgePortRead",
      "apicRead",
      "apicWrite",
      "absentMemoryRead",
      "absentMemoryRead",
      "displayRead",
      "displayWrite",
      "northBridgePortRead",
    ]);
  });

  test("a virtual board's accesses take nothing: its monitor charges for itself", () => {
    const { board, time } = machine({ ticks: freeTicks() });
    board.readPort(0x80, 1);
    board.writeMemory(APIC_PAGE + APIC.tpr, 4, 0);
    expect(time.ticks).toBe(0);
  });

  test("an access happens at the end of its time: what falls due meanwhile is seen", () => {
    const { board, time, out } = machine();
    out(0x43, 0x14);
    out(0x40, 2);
    const due = board.nextDeadline();
    expect(due - time.ticks).toBeLessThan(3 * 38_218);
    time.ticks = due - 10;
    board.writePort(0x20, 1, 0x0a);
    expect(board.readPort(0x20, 1) & 1).toBe(1);
  });
});

describe("gate A20 and reset", () => {
  test("A20 is open while the keyboard controller or port 92h opens it", () => {
    const gate: boolean[] = [];
    const { board, out } = machine({ onA20: (open) => gate.push(open) });
    expect(board.a20).toBe(true);
    out(0x64, 0xd1);
    out(0x60, 0xcd);
    out(0x92, 0x02);
    out(0x64, 0xdf);
    out(0x92, 0);
    expect(gate).toEqual([false, true]);
    out(0x64, 0xdd);
    const other = machine();
    other.board.restore(board.save());
    expect([board.a20, other.board.a20]).toEqual([false, false]);
  });

  test("the keyboard controller's pulse, port 92h and port CF9h ask for a reset", () => {
    let resets = 0;
    const { out } = machine({ onReset: () => resets++ });
    out(0x64, 0xfe);
    out(0x92, 0x01);
    out(0xcf9, 0x02, 0x06);
    expect(resets).toBe(3);
  });

  test("keyboard and mouse interrupt on IRQ1 and IRQ12", () => {
    const { board, out, openPic } = machine();
    openPic();
    board.firmware();
    board.keyboardController.key("a", true);
    expect(board.pic.isRequested(1)).toBe(true);
    expect(board.readPort(0x60, 1)).toBe(0x1e);
    out(0x64, 0x60);
    out(0x60, 0x47);
    out(0x64, 0xd4);
    out(0x60, 0xf4);
    expect(board.pic.isRequested(12)).toBe(true);
    expect(board.readPort(0x60, 1)).toBe(0xfa);
  });
});

describe("disks", () => {
  test("a board without disks has no IDE ports; with one it interrupts on IRQ14, and the CMOS RAM knows it", () => {
    expect(machine().board.readPort(0x1f7, 1)).toBe(0xff);
    const image = new Uint8Array(1008 * 512).fill(0x5a, 512, 1024);
    const { board, out, openPic, charges } = machine({ disks: [image] });
    openPic();
    out(0x70, 0x19);
    expect(board.readPort(0x71, 1)).toBe(47);
    out(0x1f6, 0xe0);
    out(0x1f2, 1);
    out(0x1f3, 1);
    out(0x1f7, 0x20);
    expect(board.pic.isRequested(14)).toBe(true);
    charges.length = 0;
    expect(board.readPort(0x1f0, 4)).toBe(0x5a5a5a5a);
    expect(charges).toEqual(["chipsetPortRead"]);
    expect(board.readPort(0x1f7, 1)).toBe(0x58);
  });
});

describe("ports and addresses", () => {
  test("the clock's RAM tells how much memory there is, and its periodic interrupt is IRQ8", () => {
    const { board, time, out, openPic } = machine({ memoryBytes: 32 * 1024 * 1024 });
    openPic();
    out(0x70, 0x18);
    expect(board.readPort(0x71, 1)).toBe((31 * 1024) >> 8);
    out(0x70, 0x0b);
    out(0x71, 0x42);
    time.ticks = board.nextDeadline();
    board.synchronize();
    expect(board.pic.isRequested(8)).toBe(true);
    out(0x70, 0x0c);
    expect(board.readPort(0x71, 1) & 0xc0).toBe(0xc0);
  });

  test("absent ports read all ones in every width, and writes to them vanish", () => {
    const { board } = machine();
    board.writePort(0x1234, 4, 0);
    expect([1, 2, 4].map((bytes) => board.readPort(0x1234, bytes))).toEqual([0xff, 0xffff, 0xffffffff]);
    expect(board.readPort(0xcfc, 4)).toBe(0xffffffff);
  });

  test("PCI configuration finds the host bridge, in every width", () => {
    const { board } = machine();
    board.writePort(0xcf8, 4, 0x8000_0000);
    expect([board.readPort(0xcfc, 4), board.readPort(0xcfe, 2), board.readPort(0xcfd, 1)]).toEqual([
      0x2774_8086, 0x2774, 0x80,
    ]);
  });

  test("port 80h reads what was last written", () => {
    const { board } = machine();
    board.writePort(0x80, 1, 0x5c);
    expect(board.readPort(0x80, 1)).toBe(0x5c);
  });

  test("a wide access to byte-wide devices is one cycle for each byte, low byte first", () => {
    const { board, charges } = machine();
    board.writePort(0x3fe, 2, 0xa7ff);
    expect(board.readPort(0x3ff, 1)).toBe(0xa7);
    expect(board.readPort(0x80, 2)).toBe(0);
    expect(charges.filter((name) => name === "slowPortWrite")).toHaveLength(2);
    expect(board.readPort(0x3fe, 4)).toBe(0xffffa7b0);
  });

  test("the last port is followed by the first", () => {
    expect(machine().board.readPort(0xffff, 2)).toBe(0x00ff);
  });

  test("both serial ports answer, each to its own interrupt", () => {
    const { board, seen, out, openPic } = machine();
    board.firmware();
    openPic();
    out(0x3f8, 0x41);
    out(0x2f8, 0x42);
    expect(seen.serial).toBe("1A2B");
    out(0x2fc, 0x08);
    out(0x2f9, 0x02);
    expect(board.acknowledgeInterrupt()).toBe(0x23);
    out(0x20, 0x20);
    out(0x3fc, 0x08);
    out(0x3f9, 0x02);
    expect(board.acknowledgeInterrupt()).toBe(0x24);
  });

  test("the debug-exit port takes its status in one 32-bit write and stops the run; the first status stands", () => {
    const { board, seen } = machine();
    expect(board.exit.status).toBeNull();
    board.writePort(0xf4, 4, 0x80000003);
    board.writePort(0xf4, 1, 7);
    expect([board.exit.status, seen.exits]).toEqual([0x80000003, 2]);
  });

  test.each([
    [0xf4, 1, 0x31],
    [0xf4, 2, 0x1234],
    [0x501, 1, 0x31],
    [0x501, 2, 0x31],
  ])("an exit by port %i takes %i bytes", (port, bytes, value) => {
    const { board } = machine();
    board.writePort(port, bytes, value);
    expect(board.exit.status).toBe(value);
  });

  test("a wide write to the console port is its first byte", () => {
    const { board } = machine();
    board.writePort(0xe9, 4, 0x44434241);
    board.writePort(0xe9, 2, 0x4645);
    expect(board.console.bytes).toEqual([0x41, 0x45]);
  });

  test("the digest port collects words, the console port bytes", () => {
    const { board } = machine();
    board.writePort(0x5e0, 4, 0xdeadbeef);
    board.writePort(0x5e0, 4, 1);
    board.writePort(0xe9, 1, 0x41);
    expect([board.digest.words, board.console.bytes]).toEqual([[0xdeadbeef, 1], [0x41]]);
    expect(board.readPort(0xe9, 1)).toBe(0xe9);
  });

  test("unclaimed addresses read all ones and take no write", () => {
    const { board } = machine();
    board.writeMemory(0xe0000000, 4, 0);
    expect(board.readMemory(0xe0000000, 4)).toBe(0xffffffff);
    expect([board.readMemory(0xf0000, 1), board.readMemory(0xf0000, 2)]).toEqual([0xff, 0xffff]);
  });

  test("the local APIC's page goes where IA32_APIC_BASE says, and away when it is disabled", () => {
    const { board, apic } = machine();
    const version = (page: number): number => board.readMemory(page + APIC.version, 4);
    expect(version(APIC_PAGE)).toBe(0x50014);
    apic.base = 0xfec10000 + 0x900;
    expect([version(APIC_PAGE), version(0xfec10000)]).toEqual([0xffffffff, 0x50014]);
    apic.base = 0xfee00100;
    expect(version(APIC_PAGE)).toBe(0xffffffff);
  });

  test("two devices cannot claim one port", () => {
    const ports = new PortMap();
    ports.claim({ first: 0x20, last: 0x21, bus: "slow", device: null });
    expect(() => ports.claim({ first: 0x21, last: 0x2f, bus: "slow", device: null })).toThrow("twice");
  });

  test("every access that may change something tells the core to look", () => {
    const { board, seen } = machine();
    board.writeMemory(APIC_PAGE + APIC.eoi, 4, 0);
    board.writePort(0x20, 1, 0x20);
    board.readPort(0x40, 1);
    expect(seen.changes).toBe(3);
  });
});

describe("interrupt wiring", () => {
  /** The timer ticks into an open 8259. */
  function tick(parts: ReturnType<typeof machine>): void {
    parts.openPic();
    parts.out(0x43, 0x14);
    parts.out(0x40, 100);
    parts.time.ticks = parts.board.nextDeadline();
    parts.board.synchronize();
  }

  test("after the firmware the 8259s reach the processor through LINT0, with everything masked", () => {
    const parts = machine();
    parts.board.firmware();
    expect(parts.board.interruptLine).toBe(false);
    expect(parts.board.readPort(0x21, 1)).toBe(0xff);
    tick(parts);
    expect(parts.board.interruptLine).toBe(true);
    parts.charges.length = 0;
    expect(parts.board.acknowledgeInterrupt()).toBe(0x20);
    expect(parts.charges).toEqual(["interruptAcknowledge"]);
    expect(parts.board.interruptLine).toBe(false);
  });

  test("TPR does not hold back external interrupts", () => {
    const parts = machine();
    parts.board.firmware();
    parts.board.writeMemory(APIC_PAGE + APIC.tpr, 4, 0xff);
    tick(parts);
    expect(parts.board.interruptLine).toBe(true);
  });

  test("a vector of the local APIC goes before the 8259s', without a cycle on the bus", () => {
    const parts = machine();
    parts.board.firmware();
    tick(parts);
    parts.board.writeMemory(APIC_PAGE + APIC.icrLow, 4, 0x40000 | 0x31);
    parts.charges.length = 0;
    expect([parts.board.acknowledgeInterrupt(), parts.board.acknowledgeInterrupt()]).toEqual([0x31, 0x20]);
    expect(parts.charges).toEqual(["interruptAcknowledge"]);
  });

  test("with the APIC disabled in IA32_APIC_BASE the 8259s drive INTR directly, and its registers are reset", () => {
    const parts = machine();
    parts.board.firmware();
    parts.apic.base = 0xfee00100;
    tick(parts);
    expect(parts.board.interruptLine).toBe(true);
    expect(parts.board.acknowledgeInterrupt()).toBe(0x20);
    parts.apic.base = APIC_BASE_RESET;
    expect(parts.board.readMemory(APIC_PAGE + APIC.svr, 4)).toBe(0xff);
  });

  test("software-disabled, the local APIC masks LINT0 like its other entries", () => {
    const parts = machine();
    parts.board.firmware();
    parts.board.writeMemory(APIC_PAGE + APIC.svr, 4, 0xff);
    tick(parts);
    expect(parts.board.interruptLine).toBe(false);
  });

  test("an acknowledge that comes too late is spurious: the local APIC's vector, or IRQ7 of the 8259s", () => {
    const parts = machine();
    parts.board.firmware();
    parts.openPic();
    parts.board.writeMemory(APIC_PAGE + APIC.svr, 4, 0x1ef);
    expect(parts.board.acknowledgeInterrupt()).toBe(0xef);
    parts.apic.base = 0xfee00100;
    expect(parts.board.acknowledgeInterrupt()).toBe(0x27);
  });

  test("ticks that fall due until the acknowledge are lost, and none after it", () => {
    const parts = machine();
    parts.board.firmware();
    tick(parts);
    parts.time.ticks += 38_218 * 100 * 3;
    parts.board.acknowledgeInterrupt();
    expect(parts.board.ticksLost).toBe(3);
    parts.time.ticks = parts.board.nextDeadline();
    parts.board.due(parts.time.ticks);
    parts.out(0x20, 0x20);
    expect([parts.board.acknowledgeInterrupt(), parts.board.ticksLost]).toEqual([0x20, 3]);
  });

  test("an NMI is latched until it is taken", () => {
    const { board } = machine();
    board.writeMemory(APIC_PAGE + APIC.icrLow, 4, 0x400);
    expect(board.nmiLine).toBe(true);
    board.acknowledgeNmi();
    expect(board.nmiLine).toBe(false);
  });

  test("the NMI button works through LINT1 when its entry says NMI, and not while port 70h masks it", () => {
    const { board, out, apic } = machine();
    board.pressNmiButton();
    expect(board.nmiLine).toBe(false);
    board.writeMemory(APIC_PAGE + APIC.svr, 4, 0x1ff);
    board.writeMemory(APIC_PAGE + APIC.lvtLint1, 4, 0x400);
    out(0x70, 0x80);
    board.pressNmiButton();
    expect(board.nmiLine).toBe(false);
    out(0x70, 0x00);
    board.pressNmiButton();
    expect(board.nmiLine).toBe(true);
    board.acknowledgeNmi();
    apic.base = 0xfee00100;
    board.pressNmiButton();
    expect(board.nmiLine).toBe(true);
  });
});

test("a board restored at any moment goes on alike: values, times, interrupts", () => {
  const random = sequence(2006);
  const first = machine();
  first.board.firmware();
  first.openPic();
  const ports = [
    0x20, 0x21, 0x40, 0x41, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x80, 0x92, 0xa0, 0xa1, 0x3c0, 0x3d5, 0x3da,
    0x3f8, 0x3f9, 0x3fa, 0x3fd, 0x4d0,
  ];
  const registers = [
    APIC.tpr,
    APIC.eoi,
    APIC.lvtTimer,
    APIC.timerInitial,
    APIC.timerDivide,
    APIC.icrLow,
    APIC.lvtLint0,
  ];
  const act = ({ board, time }: ReturnType<typeof machine>, choice: number, value: number, port: number): number => {
    if (choice === 0) board.writePort(port, 1, value & 0xff);
    else if (choice === 1) return board.readPort(port, 1);
    else if (choice === 2) board.writeMemory(APIC_PAGE + (registers[value % 7] as number), 4, value);
    else if (choice === 3) return board.interruptLine ? board.acknowledgeInterrupt() : -1;
    else if (board.nextDeadline() < time.ticks + 10 ** 9) {
      time.ticks = Math.max(time.ticks, board.nextDeadline());
      board.due(time.ticks);
    }
    return time.ticks;
  };
  for (let i = 0; i < 600; i++) {
    const second = machine();
    second.time.ticks = first.time.ticks;
    second.board.restore(structuredClone(first.board.save()));
    const choice = random(5);
    const value = random(0x40000);
    const port = ports[random(ports.length)] as number;
    expect(act(second, choice, value, port)).toBe(act(first, choice, value, port));
    expect(second.board.save()).toEqual(first.board.save());
    expect(second.board.nextDeadline()).toBe(first.board.nextDeadline());
  }
});
