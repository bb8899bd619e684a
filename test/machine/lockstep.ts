// Machines in lockstep for tests: the same set-up with code that is compiled at once, and without the engine.
import { expect } from "vitest";
import { Lockstep, type Runnable } from "../../experiments/verify/lockstep.ts";
import { EAGER_POLICY } from "../../sim/cpu/engine/policy.ts";
import type { Machine } from "../../sim/machine.ts";
import { boot, LIMIT, type Setup } from "./rig.ts";

/** A machine alone: nobody sends it input. */
export function alone(machine: Machine): Runnable {
  return {
    machine,
    run(until) {
      const end = machine.run(until);
      return end.kind === "limit" ? null : end;
    },
    save: () => machine.save(),
    restore: (saved) => machine.restore(saved as ReturnType<Machine["save"]>),
  };
}

/** Two machines of the same set-up; `compiled` may change the first before it runs. */
export function lockstep(setup: Setup, compiled: (runnable: Runnable) => Runnable = (same) => same): Lockstep {
  const engine = setup.engine ?? EAGER_POLICY;
  return new Lockstep(
    compiled(alone(boot({ ...setup, engine }).machine)),
    alone(boot({ ...setup, engine: null }).machine),
  );
}

/** Runs a guest to its end in lockstep; fails with the story of the first difference. */
export function expectAlike(setup: Setup): Machine {
  let machine: Machine | null = null;
  const both = lockstep(setup, (runnable) => {
    ({ machine } = runnable);
    return runnable;
  });
  both.run(LIMIT);
  expect(both.divergence?.report).toBe(undefined);
  return machine as unknown as Machine;
}
