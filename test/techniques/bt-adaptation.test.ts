// Instructions that keep faulting are translated into call-outs, and back when they have been harmless for a while.
import { describe, expect, test } from "vitest";
import { Adaptation } from "../../sim/techniques/bt/adaptation.ts";
import { boot, LIMIT, type Setup } from "../machine/rig.ts";

describe("an instruction", () => {
  test("is adapted after a few faults, and not without need", () => {
    const adaptation = new Adaptation(true);
    expect([adaptation.faulted(0x1000, "mmio"), adaptation.faulted(0x1000, "mmio")]).toEqual([false, false]);
    expect(adaptation.form(0x1000)).toBeUndefined();
    expect(adaptation.faulted(0x1000, "mmio")).toBe(true);
    expect(adaptation.form(0x1000)).toBe("call-out");
    expect(adaptation.form(0x1004)).toBeUndefined();
    expect(adaptation.counters(0)).toMatchObject({ "bt.faults.mmio": 3, "bt.adapted": 1 });
  });

  test("is itself again when its call-out has been of no use for long enough, and may be adapted again", () => {
    const adaptation = new Adaptation(true);
    const fault = (): boolean => adaptation.faulted(0x1000, "pte-trace");
    while (!fault());
    expect(adaptation.executed(0x1000, true)).toBe(false);
    let harmless = 1;
    while (!adaptation.executed(0x1000, false)) harmless++;
    expect(harmless).toBeGreaterThan(4);
    expect(adaptation.form(0x1000)).toBeUndefined();
    expect(adaptation.counters(0)).toMatchObject({ "bt.faults-eliminated.pte-trace": 1, "bt.reverted": 1 });
    expect(fault()).toBe(false);
  });

  test("is left alone where adaptation is taken away", () => {
    const adaptation = new Adaptation(false);
    for (let n = 0; n < 10; n++) expect(adaptation.faulted(0x1000, "pte-trace")).toBe(false);
    expect(adaptation.counters(0)).toMatchObject({ "bt.faults.pte-trace": 10 });
  });
});

describe("a guest", () => {
  function run(
    guest: string,
    bt: NonNullable<Setup["bt"]>,
  ): { counters: Readonly<Record<string, number>>; now: number } {
    const { machine } = boot({ technique: "bt", guest, commandLine: "iterations=200 warm-up=5", bt });
    expect(machine.run(LIMIT)).toMatchObject({ kind: "exit", status: 0 });
    return { counters: machine.technique.counters(), now: machine.ledger.clock.now };
  }

  test.each([
    ["ptemod-unchanged", "pte-trace"],
    ["tprwr", "mmio"],
  ])("%s takes few faults of kind %s, and less time than without adaptation", (guest, kind) => {
    const on = run(guest, {});
    const off = run(guest, { adaptation: false });
    const taken = (counters: Readonly<Record<string, number>>): number => counters[`bt.faults.${kind}`] ?? 0;
    expect(taken(off.counters)).toBeGreaterThanOrEqual(200);
    expect(taken(on.counters)).toBeLessThan(taken(off.counters) / 4);
    // Each fault that was not taken has been a call-out that would have been one.
    expect(taken(on.counters) + (on.counters[`bt.faults-eliminated.${kind}`] ?? 0)).toBe(taken(off.counters));
    expect(on.now).toBeLessThan(off.now);
  });
});
