// A guest of the VT-x monitor from reset on: emulated in real mode and while its segments are stale, run by the hardware
// in protected mode, in both directions, several times.
import { describe, expect, test } from "vitest";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import { COUNT, FAR_WORD, RealProgram, ROUNDS, tour } from "./real-program.ts";
import { account, byName, emptyMachine, guestWord, LIMIT, PROFILES, type Rig, registers, type Setup } from "./rig.ts";

const firmware = tour().firmware();
const setup = (technique: "native" | "vtx", profile: string = PROFILES[0]): Setup => ({
  technique,
  profile,
  firmware,
  pmapLayout: "shuffled",
});
const LONG = LIMIT * 10;

/** What must not depend on the technique. */
function result({ machine }: Rig): object {
  const word = (address: number): number => guestWord(machine, address);
  const [rounds, interrupts] = [word(COUNT.rounds) & 0xffff, word(COUNT.interrupts) & 0xffff];
  return { rounds, interrupts, sum: word(COUNT.sum), far: word(FAR_WORD), registers: registers(machine) };
}

function finished(rig: Rig): Rig {
  expect(rig.machine.run(LONG)).toEqual({ kind: "exit", status: 0 });
  return rig;
}

const expected = result(finished(emptyMachine(setup("native"))));

test("the tour does what it is said to do", () => {
  // EBX is "Genu" of CPUID, and then the selector of the 16-bit code segment in its low half.
  const genu = 0x756e6547;
  const sum = ROUNDS * ((1000 * 1001) / 2 + genu + 7);
  expect(expected).toMatchObject({ rounds: ROUNDS, interrupts: ROUNDS, sum: sum % 2 ** 32, far: 0x756e0018 });
});

describe.each(PROFILES)("on %s", (profile) => {
  test("a guest goes through all modes under VT-x as on bare hardware", () => {
    const rig = finished(emptyMachine(setup("vtx", profile)));
    expect(result(rig)).toEqual(result(finished(emptyMachine(setup("native", profile)))));
  });

  test("every instruction of it can be emulated", () => {
    const rig = finished(emptyMachine({ ...setup("vtx", profile), emulateAlways: true }));
    expect(result(rig)).toEqual(result(finished(emptyMachine(setup("native", profile)))));
    expect(rig.machine.core.vmx?.exits).toBe(0);
  });
});

describe("the monitor", () => {
  const rig = finished(emptyMachine(setup("vtx")));
  const { machine } = rig;
  const counters = machine.technique.counters();
  const causes = Object.fromEntries(machine.technique.exits().map(({ cause, count }) => [cause, count]));

  test("emulates while VT-x refuses the state, says which check fails, and runs the rest", () => {
    const because = Object.entries(counters).filter(([name]) => name.startsWith("emulation.because."));
    // Once from reset, and once for each return to real mode.
    expect(counters["emulation.entries"]).toBe(ROUNDS + 1);
    expect(causes["real-mode-emulation"]).toBe(ROUNDS + 1);
    expect(because.map(([name]) => name)).toEqual(
      expect.arrayContaining(["emulation.because.cr0-fixed-bits", "emulation.because.cs-access-rights-type"]),
    );
    const emulated = counters["emulation.instructions"] as number;
    const retired = machine.ledger.retiredIn(["guest-kernel"]);
    // The loop of 1 000 additions is the hardware's.
    expect(retired - emulated).toBeGreaterThan(ROUNDS * 2000);
    expect(emulated).toBeGreaterThan(ROUNDS * 50);
  });

  test("tells of an emulation that has not ended", () => {
    const stuck = emptyMachine({ technique: "vtx", firmware: new RealProgram().code(0xeb, 0xfe).firmware() });
    expect(stuck.machine.run(1_000_000 * TICKS_PER_CYCLE)).toEqual({ kind: "limit", cs: 0xf000, eip: 0 });
    const row = { reason: "CR0: fixed bits", cause: "real-mode-emulation", count: 1, hardwareTicks: 0 };
    for (const _again of [1, 2]) expect(stuck.machine.technique.exits()).toMatchObject([row]);
  });

  test("leaves real mode for VT-x and comes back by exits for CR0", () => {
    // Paging on, paging off, protection off: three a round.
    expect(causes["write-cr0"]).toBe(3 * ROUNDS);
    expect(machine.core.vmx?.failedCheck).toBe(null);
  });

  test("pays for emulation, and the guest does not", () => {
    const accounts = byName(machine);
    expect(accounts["monitor/service:emulation"]?.ticks).toBeGreaterThan(500 * TICKS_PER_CYCLE);
    const total = Object.values(accounts).reduce((sum, { ticks }) => sum + ticks, 0);
    expect(total).toBe(machine.ledger.clock.now);
    // Two instructions a round of the loop, and some more, at a cycle or two.
    expect(accounts["guest-kernel/instructions"]?.ticks).toBeLessThan(ROUNDS * 60_000 * TICKS_PER_CYCLE);
  });

  test("delivers the timer's interrupts in real mode, and lets the guest sleep between them", () => {
    expect(guestWord(machine, COUNT.ticks) & 0xffff).toBeGreaterThanOrEqual(2 * ROUNDS);
    expect(counters["emulation.events"]).toBeGreaterThanOrEqual(3 * ROUNDS);
    expect(byName(machine)["idle/halted"]?.ticks).toBeGreaterThan(0);
  });
});

describe("a guest in real mode and on its way", () => {
  const reference = account(finished(emptyMachine(setup("vtx"))), { kind: "exit", status: 0 });

  test.each([1, 23, 97])("goes on in a new machine every %i instructions, to the tick", (step) => {
    let rig = emptyMachine(setup("vtx"));
    rig.machine.run(LONG, step === 1 ? 150 : 0);
    // One at a time for a while only.
    for (let n = 0; n < (step === 1 ? 200 : 10_000); n++) {
      if (rig.machine.run(LONG, step).kind !== "limit") break;
      if (n % 3 !== 0) continue;
      const saved = structuredClone(rig.machine.save());
      rig = emptyMachine(setup("vtx"));
      rig.machine.restore(saved);
    }
    finished(rig);
    expect(account(rig, { kind: "exit", status: 0 })).toEqual(reference);
  });

  test("gives the same when it is stopped at arbitrary times and continued", () => {
    const rig = emptyMachine(setup("vtx"));
    for (let until = 1; rig.machine.run(until).kind === "limit"; until += 7_001 * TICKS_PER_CYCLE);
    expect(account(rig, { kind: "exit", status: 0 })).toEqual(reference);
  });

  test.each([1, 31, 500])(
    "ends the same when it moves between bare hardware and VT-x every %i instructions",
    (step) => {
      let rig = emptyMachine(setup("native"));
      rig.machine.run(LONG, step === 1 ? 200 : 0);
      for (let n = 0; n < (step === 1 ? 120 : 10_000); n++) {
        const to = emptyMachine(setup(n % 2 === 0 ? "vtx" : "native"));
        to.machine.importGuest(structuredClone(rig.machine.exportGuest()));
        rig = to;
        if (rig.machine.run(LONG, step).kind !== "limit") break;
      }
      expect(result(finished(rig))).toEqual(expected);
    },
  );
});
