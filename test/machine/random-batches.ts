// Random programs in lockstep, in parts that run side by side. Batches have processors and block lengths of their own; some
// stop every few thousand cycles, where any instruction may be, and in some of these compiled machines are saved and restored.
import { expect, test } from "vitest";
import type { Runnable } from "../../experiments/verify/lockstep.ts";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import { EAGER_POLICY } from "../../sim/cpu/engine/policy.ts";
import { lockstep } from "./lockstep.ts";
import { randomBatch } from "./random-batch.ts";
import { LIMIT, PROFILES } from "./rig.ts";

const BATCH = 100;
const BLOCKS = [32, 1, 5, 2, 64] as const;
/** Compiles what runs again, several regions at once. */
const ENGINE = { ...EAGER_POLICY, hot: 5, batch: 16, patience: 100, doublings: 2, regions: 200 };
const STEP = 20_011 * TICKS_PER_CYCLE + 7;

/** Tests `batches` batches of 100 programs, beginning with the one of this number. */
export function verifyRandomPrograms(first: number, batches: number): void {
  const name = `random programs ${first * BATCH + 1} to ${(first + batches) * BATCH}`;
  test(`${name} leave every state that the interpreter leaves`, () => {
    let compiled = 0;
    for (let n = first; n < first + batches; n++) {
      const setup = {
        ...randomBatch(n * BATCH + 1, BATCH),
        ...{ profile: PROFILES[n % 2] as string, maxBlock: BLOCKS[n % 5] as number, engine: ENGINE, seed: n + 1 },
      };
      const runs: Runnable[] = [];
      const both = lockstep(setup, (runnable) => {
        runs.push(runnable);
        return n % 6 === 5 ? restoredOften(runnable) : runnable;
      });
      const step = n % 3 === 2 ? STEP : LIMIT;
      let end = null;
      for (let until = step; end === null && until <= LIMIT && both.divergence === null; until += step) {
        end = both.run(until);
      }
      expect(both.divergence?.report, `programs from ${n * BATCH + 1}`).toBe(undefined);
      expect(end?.kind).toBe("triple-fault");
      compiled += runs[0]?.machine.core.engineStatistics()["engine.regions.compiled"] ?? 0;
    }
    expect(compiled).toBeGreaterThan(100 * batches);
  }, 300_000);
}

/** Saves and restores before it goes on. */
function restoredOften(runnable: Runnable): Runnable {
  return {
    ...runnable,
    run(until) {
      runnable.restore(runnable.save());
      return runnable.run(until);
    },
  };
}
