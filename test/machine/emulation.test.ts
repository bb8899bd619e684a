// Everything emulated: guests whose every instruction the monitor's emulator runs, in protected mode with paging and
// without, end as they do on bare hardware. The emulator is the one interpreter over the virtual processor; what is
// tested here is that processor's environment, and what happens between instructions.
import { describe, expect, test } from "vitest";
import {
  account,
  boot,
  GUESTS,
  guestRam,
  isTimeless,
  LIMIT,
  PROFILES,
  type Rig,
  registers,
  type Setup,
  verdict,
} from "./rig.ts";

/** Executes VMX where it finds it. */
const DEPENDS_ON_VMX = ["vmx-guest"];
/** Millions of iterations of string instructions, or of short programs, which are slow here and agree under VT-x. */
const LONG = ["ptemod-unchanged", "ptemod-p2np", "ptemod-np2p", "t-strings", "t-code"];
const EMULATED: Setup = { technique: "vtx", emulateAlways: true, pmapLayout: "shuffled" };
/** Emulation takes some hundred times the cycles. */
const LONGER = LIMIT * 1000;

const counter = ({ machine }: Rig, name: string): number => machine.technique.counters()[name] ?? 0;

describe.each(PROFILES)("on %s", (profile) => {
  const guests = GUESTS.filter((guest) => ![...DEPENDS_ON_VMX, ...LONG].includes(guest));

  test.each(guests.filter((guest) => profile === PROFILES[0] || !guest.startsWith("t-") || guest === "t-exceptions"))(
    "%s ends the same when all of it is emulated",
    (guest) => {
      const native = boot({ technique: "native", profile, guest });
      const expected = verdict(native, native.machine.run(LIMIT));
      const rig = boot({ ...EMULATED, profile, guest });
      expect(verdict(rig, rig.machine.run(LONGER))).toEqual(expected);
      expect(rig.machine.core.vmx?.exits).toBe(0);
      if (!isTimeless(guest)) return;
      expect(registers(rig.machine)).toEqual(registers(native.machine));
      const [retired, there] = [rig, native].map(({ machine }) =>
        machine.ledger.retiredIn(["guest-user", "guest-kernel"]),
      );
      expect([guest, retired]).toEqual([guest, there]);
      expect(counter(rig, "emulation.instructions")).toBe(retired);
    },
    120_000,
  );
});

describe("an emulated guest", () => {
  const setup: Setup = { ...EMULATED, guest: "timer-interrupt", commandLine: "iterations=1 hz=9000" };
  const outcome = (rig: Rig): object => {
    const end = rig.machine.run(LONGER);
    return { ...account(rig, end), ram: Buffer.from(guestRam(rig.machine).buffer).toString("base64") };
  };
  const reference = outcome(boot(setup));

  test("gives the same when it is stopped at arbitrary times and continued", () => {
    const rig = boot(setup);
    for (let until = 1; until < 4_000_000_000; until += 70_001 * 12) {
      if (rig.machine.run(until).kind !== "limit") break;
    }
    expect(outcome(rig)).toEqual(reference);
  });

  test("goes on in a new machine at every 997th instruction", () => {
    let rig = boot(setup);
    rig.machine.run(LONGER, 112_000);
    for (let n = 0; n < 10; n++) {
      if (rig.machine.run(LONGER, 997).kind !== "limit") break;
      const saved = structuredClone(rig.machine.save());
      const serial = [...rig.serial];
      rig = boot(setup);
      rig.machine.restore(saved);
      rig.serial.push(...serial);
    }
    expect(outcome(rig)).toEqual(reference);
  });
});
