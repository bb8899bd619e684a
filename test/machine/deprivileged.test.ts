// Runs of de-privileged guests: neither the engine's choices nor interruptions of a run change anything.
import { describe, expect, test } from "vitest";
import { account, boot, LIMIT, type Setup } from "./rig.ts";

describe.each([
  ["classical", 9973],
  ["bt", 49_999],
] as const)("a run under %s", (technique, step) => {
  const setup: Setup = { technique, guest: "kernel" };
  const outcome = (options: Partial<Setup> = {}): object => {
    const rig = boot({ ...setup, ...options });
    return account(rig, rig.machine.run(LIMIT));
  };
  const reference = outcome();

  test("is the same with other blocks, interpreted or compiled", () => {
    expect(outcome({ maxBlock: 1, engine: null })).toEqual(reference);
    expect(outcome({ maxBlock: 5 })).toEqual(reference);
  });

  test("goes on in a new machine wherever it was stopped", () => {
    let rig = boot(setup);
    let end = rig.machine.run(LIMIT, step);
    while (end.kind === "limit") {
      const saved = structuredClone(rig.machine.save());
      const serial = [...rig.serial];
      rig = boot(setup);
      rig.machine.restore(saved);
      rig.serial.push(...serial);
      end = rig.machine.run(LIMIT, step);
    }
    expect(account(rig, end)).toEqual(reference);
  });
});
