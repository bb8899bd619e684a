// Engine choices, interruptions of a run and neighbours never change a result.
import { describe, expect, test } from "vitest";
import type { TechniqueName } from "../../sim/machine.ts";
import type { RunEnd } from "../../sim/result.ts";
import {
  account,
  boot,
  byName,
  differences,
  emptyMachine,
  guestRam,
  isTimeless,
  LIMIT,
  type Rig,
  registers,
  type Setup,
  verdict,
} from "./rig.ts";

const TECHNIQUES = ["native", "vtx"] as const satisfies readonly TechniqueName[];
const FAST_TIMER = "iterations=1 hz=9000";
const SMALL = "iterations=5 warm-up=2";

/** Guests that between them use user mode, faults, devices, interrupts, page-table changes and self-modifying code. */
const GUESTS: readonly (readonly [guest: string, commandLine: string])[] = [
  ["kernel", ""],
  ["timer-interrupt", FAST_TIMER],
  ["pgfault", SMALL],
  ["tprwr", SMALL],
  ["t-paging", ""],
  ["t-pae", ""],
  ["t-smc", ""],
  ["kstorm", "scale=1"],
];

interface Outcome {
  readonly account: object;
  readonly ram: Uint32Array;
}

function outcome(rig: Rig): Outcome {
  const end = rig.machine.run(LIMIT);
  return { account: account(rig, end), ram: guestRam(rig.machine) };
}

function expectSame(a: Outcome, b: Outcome): void {
  expect(a.account).toEqual(b.account);
  expect(differences(a.ram, b.ram)).toEqual([]);
}

const references = new Map<string, Outcome>();

/** The outcome of an undisturbed run; run once for all tests. */
function referenceOf(setup: Setup): Outcome {
  const key = `${setup.technique} ${setup.guest} ${setup.commandLine}`;
  const known = references.get(key) ?? outcome(boot(setup));
  references.set(key, known);
  return known;
}

describe.each(TECHNIQUES)("under %s", (technique) => {
  test.each(GUESTS)("%s gives the same bytes twice", (guest, commandLine) => {
    const setup: Setup = { technique, guest, commandLine };
    expectSame(outcome(boot(setup)), referenceOf(setup));
  });

  test.each(GUESTS)("%s gives the same with blocks of at most 1, 2, 5 and 64 instructions", (guest, commandLine) => {
    const setup: Setup = { technique, guest, commandLine };
    for (const maxBlock of [1, 2, 5, 64]) {
      expectSame(outcome(boot({ ...setup, maxBlock })), referenceOf(setup));
    }
  });

  test.each(GUESTS)("%s gives the same when it is stopped at arbitrary times and continued", (guest, commandLine) => {
    const setup: Setup = { technique, guest, commandLine };
    const rig = boot(setup);
    let end: RunEnd = { kind: "limit", cs: 0, eip: 0 };
    for (let until = 1; end.kind === "limit" && until < LIMIT; until += 70_001 * 12) end = rig.machine.run(until);
    expectSame({ account: account(rig, end), ram: guestRam(rig.machine) }, referenceOf(setup));
  });

  test("two machines that take turns do not disturb each other", () => {
    const setups: Setup[] = [
      { technique, guest: "kernel" },
      { technique: "native", guest: "pgfault", commandLine: SMALL },
      { technique: "vtx", guest: "mov-cr3", commandLine: SMALL, profile: "core2-e6700" },
    ];
    const alone = setups.map((setup) => outcome(boot(setup)));
    const together = setups.map((setup) => boot(setup));
    for (let until = 0; until < 2_000_000 * 12; until += 100_000 * 12) {
      for (const rig of together) rig.machine.run(until);
    }
    for (const [n, rig] of together.entries()) expectSame(outcome(rig), alone[n] as Outcome);
  });
});

describe("a saved machine", () => {
  /** Instructions to run first, so that the window holds what the guest is about; then how many to go through. */
  const WINDOWS: readonly (readonly [guest: string, commandLine: string, first: number, count: number])[] = [
    ["kernel", "", 114_000, 10_000],
    ["timer-interrupt", FAST_TIMER, 120_000, 8_000],
    ["pgfault", SMALL, 110_000, 6_000],
    ["tprwr", SMALL, 110_000, 6_000],
    ["t-pagetables", "", 170_000, 8_000],
    ["t-pae", "", 640_000, 8_000],
    ["t-smc", "", 115_000, 8_000],
  ];
  const STEP = 997;

  describe.each(TECHNIQUES)("of %s", (technique) => {
    test.each(WINDOWS)(
      "goes on in a new machine at every 997th instruction of %s",
      (guest, commandLine, first, count) => {
        const setup: Setup = { technique, guest, commandLine };
        const reference = outcome(boot(setup));
        const serial: number[] = [];
        let rig: Rig = boot(setup);
        let end = rig.machine.run(LIMIT, first);
        for (let done = 0; end.kind === "limit" && done < count; done += STEP) {
          end = rig.machine.run(LIMIT, STEP);
          // Through plain data: what is saved shares nothing with the machine.
          const saved = structuredClone(rig.machine.save());
          serial.push(...rig.serial);
          rig = emptyMachine(setup);
          rig.machine.restore(saved);
        }
        end = rig.machine.run(LIMIT);
        serial.push(...rig.serial);
        expectSame({ account: account({ machine: rig.machine, serial }, end), ram: guestRam(rig.machine) }, reference);
      },
    );

    test("goes back in the same machine, whatever that has done since", () => {
      const setup: Setup = { technique, guest: "t-smc", commandLine: "" };
      const reference = referenceOf(setup);
      const rig = boot(setup);
      rig.machine.run(LIMIT, 112_000);
      const saved = structuredClone(rig.machine.save());
      const written = rig.serial.length;
      rig.machine.run(LIMIT);
      rig.serial.length = written;
      rig.machine.restore(saved);
      expectSame(outcome(rig), reference);
    });
  });
});

describe("the shuffled pmap", () => {
  // Where guest pages lie in host memory is visible in one place only: the monitor reaches them through its own 4 MB
  // mappings, so its TLB misses differ, and with them the time of its page walks.
  const TIMED = ["kernel", "timer-interrupt"];

  interface Shuffled {
    readonly rig: Rig;
    readonly verdict: object;
    readonly accounts: Record<string, { ticks: number; retired: number }>;
    readonly counters: Record<string, number>;
    readonly exits: readonly (readonly [string, string, number])[];
  }

  function run(guest: string, commandLine: string, pmapLayout: "linear" | "shuffled"): Shuffled {
    const rig = boot({ technique: "vtx", guest, commandLine, pmapLayout, seed: 7 });
    const { machine } = rig;
    const end = machine.run(LIMIT);
    return {
      rig,
      verdict: verdict(rig, end),
      accounts: byName(machine),
      counters: { ...machine.technique.counters() },
      exits: machine.technique.exits().map(({ reason, cause, count }) => [reason, cause, count]),
    };
  }

  test.each(GUESTS)(
    "gives %s the same as the linear one, but for the monitor's own TLB misses",
    (guest, commandLine) => {
      const linear = run(guest, commandLine, "linear");
      const shuffled = run(guest, commandLine, "shuffled");
      expect(shuffled.verdict).toEqual(linear.verdict);
      if (TIMED.includes(guest)) return;
      expect(shuffled.counters).toEqual(linear.counters);
      expect(shuffled.exits).toEqual(linear.exits);
      const walks = (side: Shuffled): number => side.accounts["monitor/walk"]?.ticks ?? 0;
      const now = (side: Shuffled): number => side.rig.machine.ledger.clock.now;
      expect(now(shuffled) - now(linear)).toBe(walks(shuffled) - walks(linear));
      delete linear.accounts["monitor/walk"];
      delete shuffled.accounts["monitor/walk"];
      expect(shuffled.accounts).toEqual(linear.accounts);
      expect(registers(shuffled.rig.machine)).toEqual(registers(linear.rig.machine));
      if (isTimeless(guest))
        expect(differences(guestRam(shuffled.rig.machine), guestRam(linear.rig.machine))).toEqual([]);
    },
  );
});
