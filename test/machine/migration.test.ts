// A guest on the move: native -> vtx -> native in mid-run.
import { describe, expect, test } from "vitest";
import { bare, handlers, PLACE, Program } from "./assemble.ts";
import {
  boot,
  CELL,
  differences,
  emptyMachine,
  FLAG,
  guestRam,
  guestWord,
  isTimeless,
  LIMIT,
  type Rig,
  registers,
  type Setup,
  stateOf,
  text,
  verdict,
} from "./rig.ts";

const FAST_TIMER = "iterations=2 hz=9000";

/** Puts the guest of a machine into a new one. */
function move(from: Rig, setup: Setup): Rig {
  const to = emptyMachine(setup);
  to.machine.importGuest(structuredClone(from.machine.exportGuest()));
  to.serial.push(...from.serial);
  return to;
}

/** Runs on, unless the guest has ended. */
function go(rig: Rig, instructions: number): boolean {
  return rig.machine.run(LIMIT, instructions).kind === "limit";
}

interface Ended {
  readonly verdict: object;
  readonly registers: object;
  readonly ram: Uint32Array;
}

function run(rig: Rig): Ended {
  const end = rig.machine.run(LIMIT);
  return { verdict: verdict(rig, end), registers: registers(rig.machine), ram: guestRam(rig.machine) };
}

const references = new Map<string, Ended>();

/** The guest must end as it does when nobody moves it. */
function expectSameOutcome(rig: Rig, setup: Setup): void {
  const key = `${setup.technique} ${setup.guest} ${setup.commandLine}`;
  const reference = references.get(key) ?? run(boot(setup));
  references.set(key, reference);
  const ended = run(rig);
  expect(ended.verdict).toEqual(reference.verdict);
  if (!isTimeless(setup.guest as string)) return;
  expect(ended.registers).toEqual(reference.registers);
  const [a, b] = [ended.ram, reference.ram];
  // A and D bits depend on what the TLB held; equivalence.test.ts says where they may differ.
  expect(differences(a, b).filter((at) => (((a[at / 4] as number) ^ (b[at / 4] as number)) & ~0x60) !== 0)).toEqual([]);
}

/** Instructions after which t-sse switches its tasks. */
const TASKS_OF_SSE = 5_000_000;

describe.each([
  ["kernel", ""],
  ["timer-interrupt", FAST_TIMER],
  ["t-paging", ""],
  ["t-pae", ""],
  ["t-exceptions", ""],
  ["syscall-sysenter", "iterations=20 warm-up=5"],
  ["kstorm", "scale=1"],
])("%s", (guest, commandLine) => {
  const native: Setup = { technique: "native", guest, commandLine };
  const vtx: Setup = { technique: "vtx", guest, commandLine };

  test.each([
    [1, 2],
    [50_000, 20_000],
    [112_345, 1_000],
    [118_000, 1],
    [118_500, 3_333],
  ])("ends the same when it moves to VT-x after %i instructions and back after %i", (first, second) => {
    let rig = boot(native);
    rig.machine.run(LIMIT, first);
    rig = move(rig, { ...vtx, pmapLayout: "shuffled" });
    if (go(rig, second)) rig = move(rig, native);
    expectSameOutcome(rig, native);
  });

  test("ends the same when it moves every 1 777 instructions", () => {
    let rig = boot(native);
    rig.machine.run(LIMIT, 112_000);
    for (let n = 0; n < 8; n++) {
      rig = move(rig, n % 2 === 0 ? vtx : native);
      if (!go(rig, 1777)) break;
    }
    expectSameOutcome(rig, native);
  });
});

test("the registers of x87, MMX and SSE move with a guest whose tasks use them", () => {
  const native: Setup = { technique: "native", guest: "t-sse" };
  const vtx: Setup = { technique: "vtx", guest: "t-sse" };
  let rig = boot(native);
  rig.machine.run(LIMIT, TASKS_OF_SSE);
  expect(text(rig.serial)).toMatch(/FXSAVE and FXRSTOR: \d+ checks\n$/);
  for (let n = 0; n < 6; n++) {
    rig = move(rig, n % 2 === 0 ? vtx : native);
    if (!go(rig, 7_777)) break;
  }
  expectSameOutcome(rig, native);
});

describe("a guest that is moved at a delicate moment", () => {
  const setups = (guest: string, commandLine: string): Record<"native" | "vtx", Setup> => ({
    native: { technique: "native", guest, commandLine },
    vtx: { technique: "vtx", guest, commandLine },
  });

  /** Steps the guest until `ready`; the guest must get there. */
  function stepUntil(rig: Rig, ready: () => boolean): void {
    for (let n = 0; n < 60_000; n++) {
      if (ready()) return;
      if (rig.machine.run(LIMIT, 1).kind !== "limit") break;
    }
    throw new Error("the guest never got there");
  }

  /** From `from` at the moment `ready` says, to the other technique and, 5 instructions later, back. */
  function there(
    guest: string,
    commandLine: string,
    from: "native" | "vtx",
    first: number,
    ready: (rig: Rig) => boolean,
  ): void {
    const both = setups(guest, commandLine);
    const to = from === "native" ? "vtx" : "native";
    let rig = boot(both[from]);
    rig.machine.run(LIMIT, first);
    stepUntil(rig, () => ready(rig));
    rig = move(rig, both[to]);
    rig.machine.run(LIMIT, 5);
    rig = move(rig, both[from]);
    expectSameOutcome(rig, both.native);
  }

  const DIRECTIONS = ["native", "vtx"] as const;
  /** Guest state, where the guest is in the processor. */
  const inGuest = ({ machine }: Rig): boolean =>
    machine.core.vmx?.nonRoot !== null || machine.technique.name === "native";
  const flags = ({ machine }: Rig): number => stateOf(machine).flags;

  test.each(DIRECTIONS)("from %s in user mode goes on", (from) => {
    there("kernel", "", from, 108_000, (rig) => inGuest(rig) && stateOf(rig.machine).get(CELL.cpl) === 3);
  });

  test.each(DIRECTIONS)("from %s inside of the interrupt handler finishes it", (from) => {
    let wasOn = false;
    there("timer-interrupt", FAST_TIMER, from, 112_000, (rig) => {
      if (!inGuest(rig)) return false;
      const isOn = (flags(rig) & FLAG.IF) !== 0;
      if (wasOn && !isOn) return true;
      wasOn = isOn;
      return false;
    });
  });

  test.each(DIRECTIONS)("from %s with an interrupt pending and IF clear takes it after STI", (from) => {
    const program = new Program().timer(20).wait(100_000).code(0xfb).code(0x90).label("after").code(0x90).exit();
    handlers(program.label("done"), [0x20], true);
    const start = (technique: "native" | "vtx"): Rig => bare({ technique, program, vectors: [0x20] });
    const reference = start("native");
    reference.machine.run(LIMIT);
    const frame = guestWord(reference.machine, PLACE.log + 12);
    expect(frame).toBe(program.address("after"));

    let rig = start(from);
    rig.machine.run(LIMIT, 95_000);
    expect(rig.machine.board.interruptLine).toBe(true);
    for (const technique of [from === "native" ? "vtx" : "native", from] as const) {
      rig = move(rig, { technique });
      expect(rig.machine.board.interruptLine).toBe(true);
      expect(go(rig, 10)).toBe(true);
    }
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
    expect(guestWord(rig.machine, PLACE.log + 12)).toBe(frame);
  });

  test("asleep in HLT wakes up under the other technique, and its time is the machine's", () => {
    const both = setups("kernel", "");
    for (const from of DIRECTIONS) {
      let rig = boot(both[from]);
      // The kernel waits for timer interrupts in HLT; most of its 26 million cycles are there.
      rig.machine.run(12_000_000 * 12);
      const idle = rig.machine.ledger.totals().find(({ domain }) => domain === "idle");
      expect(idle?.ticks).toBeGreaterThan(0);
      rig = move(rig, both[from === "native" ? "vtx" : "native"]);
      rig.machine.run(14_000_000 * 12);
      rig = move(rig, both[from]);
      expectSameOutcome(rig, both.native);
    }
  });
});
