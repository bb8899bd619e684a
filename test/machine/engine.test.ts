// Compiled code against the interpreter: the same guests and random programs with and without the engine, compiled at once
// instead of when hot, end with the same processor, memory, clock, accounts and counters.
import { describe, expect, test } from "vitest";
import { EAGER_POLICY, type EnginePolicy } from "../../sim/cpu/engine/engine.ts";
import { GPR } from "../../sim/cpu/state.ts";
import type { RunEnd } from "../../sim/result.ts";
import { RandomProgram } from "./random-program.ts";
import { boot, GUESTS, guestRam, LIMIT, NANOBENCHMARKS, type Rig, type Setup, shortCommandLine } from "./rig.ts";

/** Tens of millions of instructions. */
const LONG = ["t-strings", "t-integer"];
/** Of the nanobenchmarks, which are alike, and under VT-x, where the guest's code is compiled by the same compiler, a few. */
const NATIVE = GUESTS.filter((guest) => !LONG.includes(guest) && !NANOBENCHMARKS.includes(guest));
const CASES = [
  ...[...NATIVE, "in", "pgfault", "timer-interrupt"].map((guest) => ({ technique: "native", guest }) as const),
  ...["kernel", "t-smc", "t-pagetables", "timer-interrupt"].map((guest) => ({ technique: "vtx", guest }) as const),
];

interface Outcome {
  readonly end: RunEnd;
  readonly rig: Rig;
}

function run(setup: Setup, engine: EnginePolicy | null): Outcome {
  const rig = boot({ ...setup, engine });
  return { rig, end: rig.machine.run(LIMIT) };
}

/** Everything that a run has left but its memory. */
function outcome({ rig, end }: Outcome): object {
  const { machine, serial } = rig;
  const { core, ledger, technique } = machine;
  return {
    end,
    serial,
    cpu: technique.exportCpu().cpu,
    now: ledger.clock.now,
    accounts: ledger.totals(),
    mmu: core.mmu.save(),
    predictor: core.env.predictor.save(),
    technique: technique.counters(),
  };
}

function ram({ rig }: Outcome): Buffer {
  return Buffer.from(guestRam(rig.machine).buffer);
}

function expectSame(setup: Setup): Outcome {
  const compiled = run(setup, EAGER_POLICY);
  const interpreted = run(setup, null);
  expect(outcome(compiled)).toEqual(outcome(interpreted));
  expect(Buffer.compare(ram(compiled), ram(interpreted))).toBe(0);
  return compiled;
}

describe("compiled code does what the interpreter does", () => {
  test.for(CASES)("$guest, $technique", ({ technique, guest }) => {
    const { rig } = expectSame({ technique, guest, commandLine: shortCommandLine(guest) });
    expect(rig.machine.core.engineStatistics()["engine.regions.compiled"]).toBeGreaterThan(0);
  });
});

test("random programs of arithmetic, memory, calls and branches end alike", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const program = new RandomProgram(seed);
    const setup: Setup = { technique: "native", code: program.code, guestBytes: 2 << 20 };
    const compiled = run(setup, EAGER_POLICY);
    const interpreted = run(setup, null);
    expect(outcome(compiled), `seed ${seed}`).toEqual(outcome(interpreted));
    expect(Buffer.compare(ram(compiled), ram(interpreted)), `seed ${seed}`).toBe(0);
  }
});

test("an event falls due at the same instruction in compiled code", () => {
  // A loop of three instructions, left at every clock value of some iterations.
  const code = Uint8Array.of(0x40, 0x01, 0xc3, 0xeb, 0xfb);
  const at = (until: number, engine: EnginePolicy | null): readonly number[] => {
    const { machine } = boot({ technique: "native", code, engine });
    machine.run(until);
    const { state } = machine.core;
    return [machine.ledger.clock.now, state.eip, state.get(GPR.eax), state.get(GPR.ebx), state.flags];
  };
  for (let until = 20_000; until < 20_100; until++) expect(at(until, EAGER_POLICY)).toEqual(at(until, null));
});
