// Compiled code against the interpreter: random programs, and events at each clock value. Guests are in verified-guests.ts.
import { expect, test } from "vitest";
import { EAGER_POLICY, type EnginePolicy } from "../../sim/cpu/engine/engine.ts";
import { GPR } from "../../sim/cpu/state.ts";
import { expectAlike } from "./lockstep.ts";
import { RandomProgram } from "./random-program.ts";
import { boot } from "./rig.ts";

test("random programs of arithmetic, memory, calls and branches end alike", () => {
  for (let seed = 1; seed <= 40; seed++) {
    expectAlike({ technique: "native", code: new RandomProgram(seed).code, guestBytes: 2 << 20 });
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
