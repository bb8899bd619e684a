// The ledger against the trace of the same run, and retired instructions against a count made step by step.
import { describe, expect, test } from "vitest";
import { boot, byName, CELL, LIMIT, type Rig, type Setup, stateOf } from "./rig.ts";

const SMALL = "iterations=5 warm-up=2";
const FAULTS = 7;

const SETUPS: readonly Setup[] = [
  { technique: "native", guest: "kernel" },
  { technique: "native", guest: "t-paging", profile: "core2-e6700" },
  { technique: "vtx", guest: "kernel" },
  { technique: "vtx", guest: "timer-interrupt", commandLine: "iterations=1 hz=9000" },
  { technique: "vtx", guest: "t-pagetables", profile: "core2-e6700" },
];

test.each(SETUPS)("every account is the sum of its charges, and the clock of all: $guest, $technique", (setup) => {
  const { machine } = boot(setup);
  const { ledger } = machine;
  const before = byName(machine);
  const traced = new Map<string, number>();
  const odd: number[] = [];
  let sum = ledger.clock.now;
  ledger.onCharge = (account, ticks) => {
    const { domain, activity } = ledger.nameOf(account);
    const name = `${domain}/${activity}`;
    traced.set(name, (traced.get(name) ?? before[name]?.ticks ?? 0) + ticks);
    sum += ticks;
    if (!Number.isInteger(ticks) || ticks < 0) odd.push(ticks);
  };
  expect(machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
  const after = Object.entries(byName(machine));
  expect(after.map(([name]) => [name, traced.get(name) ?? 0])).toEqual(after.map(([name, { ticks }]) => [name, ticks]));
  expect(odd).toEqual([]);
  expect(sum).toBe(ledger.clock.now);
  expect(after.reduce((total, [, { ticks }]) => total + ticks, 0)).toBe(ledger.clock.now);
});

test("watching charges changes nothing", () => {
  const [plain, watched] = [boot({ technique: "vtx", guest: "kernel" }), boot({ technique: "vtx", guest: "kernel" })];
  watched.machine.ledger.onCharge = () => undefined;
  plain.machine.run(LIMIT);
  watched.machine.run(LIMIT);
  expect(byName(watched.machine)).toEqual(byName(plain.machine));
});

describe("retired instructions", () => {
  /** Runs instruction by instruction; counts steps by the CPL at their beginning. */
  function stepByStep({ machine }: Rig): { kernel: number; user: number } {
    const steps = { kernel: 0, user: 0 };
    const state = stateOf(machine);
    for (;;) {
      const user = state.get(CELL.cpl) === 3;
      const end = machine.run(LIMIT, 1);
      if (user) steps.user++;
      else steps.kernel++;
      if (end.kind !== "limit") {
        expect(end).toEqual({ kind: "exit", status: 0 });
        return steps;
      }
    }
  }

  test.each([
    ["callret", 0],
    ["pgfault", FAULTS],
    ["divzero", FAULTS],
  ] as const)("are the steps of %s natively, less the %i that fault at CPL 3", (guest, faults) => {
    const setup: Setup = { technique: "native", guest, commandLine: SMALL };
    const steps = stepByStep(boot(setup));
    const { machine } = boot(setup);
    machine.run(LIMIT);
    expect(machine.ledger.retiredIn(["guest-user"])).toBe(steps.user - faults);
    expect(machine.ledger.retiredIn(["guest-kernel"])).toBe(steps.kernel);
  });

  /** Exits whose instruction the monitor does not complete. */
  const NOT_EMULATED = ["hidden-page-fault", "guest-page-fault", "physical-interrupt", "interrupt-window"];

  // Guests that read no time execute the same instructions everywhere. An INT n whose delivery was interrupted by a VM
  // exit is completed by the entry that injects it again, and retires nowhere.
  test.each(["t-paging", "t-pagetables", "t-smc"])(
    "of %s under VT-x and the instructions that the monitor completes are those of bare hardware",
    (guest) => {
      const run = (technique: "native" | "vtx"): Rig => {
        const rig = boot({ technique, guest });
        rig.machine.run(LIMIT);
        return rig;
      };
      const guestInstructions = ({ machine }: Rig): number => machine.ledger.retiredIn(["guest-user", "guest-kernel"]);
      const { machine } = run("vtx");
      let completed = 0;
      for (const { cause, count } of machine.technique.exits()) if (!NOT_EMULATED.includes(cause)) completed += count;
      const missing = guestInstructions(run("native")) - guestInstructions({ machine, serial: [] }) - completed;
      expect(missing).toBeGreaterThanOrEqual(0);
      expect(missing).toBeLessThanOrEqual(machine.technique.counters()["events.reinjected"] as number);
    },
  );
});
