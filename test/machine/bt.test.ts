// Binary translation: every guest ends as on bare hardware, and the monitor's region is nobody's but the monitor's.
import { describe, expect, test } from "vitest";
import { boot, GUESTS, LIMIT, PENTIUM4, verdict } from "./rig.ts";

/** Not yet. */
const OPEN = [
  ...["vmx-guest", "t-tasks", "t-system", "t-segments", "t-pae", "t-modes-strict", "t-exceptions", "t-code"],
  ...["popek-goldberg", "t-integer", "t-segments-odd", "t-top", "t-hostile", "t-interrupts", "t-odd-strict"],
];

describe.each([PENTIUM4])("on %s", (profile) => {
  test.each(GUESTS.filter((guest) => !OPEN.includes(guest)))(
    "%s ends the same under binary translation as on bare hardware",
    (guest) => {
      const native = boot({ technique: "native", profile, guest });
      const expected = verdict(native, native.machine.run(LIMIT));
      const rig = boot({ technique: "bt", profile, guest, pmapLayout: "shuffled" });
      expect(verdict(rig, rig.machine.run(4 * LIMIT))).toEqual(expected);
      expect(rig.machine.ledger.totals().reduce((sum, { ticks }) => sum + ticks, 0)).toBe(rig.machine.ledger.clock.now);
    },
    120_000,
  );
});
