// Binary translation: every guest ends as on bare hardware.
import { describe, expect, test } from "vitest";
import { printedRows } from "../../experiments/rows.ts";
import { boot, byName, GUESTS, LIMIT, PENTIUM4, PROFILES, type Rig, type Setup, text, verdict } from "./rig.ts";

/**
 * What code at CPL 3 sees of the hardware when it is executed directly, as with the products of the time: SGDT, SIDT, SLDT,
 * STR, SMSW, LAR and the like, and IF in what PUSHF pushes. These agree when it is translated too.
 */
const SENSITIVE_USERS = [
  ...["popek-goldberg", "t-system", "t-tasks", "t-tasks-strict", "t-segments", "t-interrupts", "t-hostile"],
];
/**
 * Half a minute each and more: a visit to the monitor for every store to code or descriptors, or so many instructions that
 * are translated to run once. They agree as well: `RINGLAB_LONG_TESTS=1 npx vitest run test/machine/bt.test.ts`.
 */
const LONG = [
  ...["t-code", "t-hostile", "t-integer", "t-precise", "t-strings", "t-sse", "t-pae", "t-exceptions", "t-segments"],
  ...["t-odd-strict", "t-limits", "t-top"],
];
const runsAll = process.env["RINGLAB_LONG_TESTS"] === "1";
/** Sees VMX on bare hardware, which a monitor hides. */
const EXCLUDED = ["vmx-guest"];

function agrees(guest: string, profile: string, options: Partial<Setup> = {}): Rig {
  const native = boot({ technique: "native", profile, guest });
  const expected = verdict(native, native.machine.run(LIMIT));
  const rig = boot({ technique: "bt", profile, guest, pmapLayout: "shuffled", ...options });
  expect(verdict(rig, rig.machine.run(8 * LIMIT))).toEqual(expected);
  expect(rig.machine.ledger.totals().reduce((sum, { ticks }) => sum + ticks, 0)).toBe(rig.machine.ledger.clock.now);
  return rig;
}

const short = GUESTS.filter((guest) => !EXCLUDED.includes(guest) && (runsAll || !LONG.includes(guest)));
const direct = short.filter((guest) => !SENSITIVE_USERS.includes(guest));

describe.each(PROFILES)("on %s", (profile) => {
  // The processors differ in costs, not in what is right: all guests on one of them.
  const some = profile === PENTIUM4 ? direct : ["kernel", "kstorm", "callret", "pgfault"];
  test.each(some.filter((guest) => direct.includes(guest)))(
    "%s ends the same under binary translation as on bare hardware",
    (guest) => void agrees(guest, profile),
    120_000,
  );

  test.each([...SENSITIVE_USERS, "t-inserted"].filter((guest) => profile === PENTIUM4 && short.includes(guest)))(
    "%s does so with its user code translated",
    (guest) => void agrees(guest, profile, { bt: { user: "translate" } }),
    120_000,
  );
});

test("each mechanism can be taken away", () => {
  const without = [{ chaining: false }, { inline: false }, { adaptation: false }, { returnLookup: false }];
  for (const bt of [...without, { unitSize: 1 }, { cacheKb: 16 }, { user: "translate" } as const]) {
    agrees("t-smc", PENTIUM4, { bt });
  }
});

test.each(["direct", "translate"] as const)(
  "virtual-8086 code is not emulated with user=%s",
  (user) => {
    // t-v86-monitor works in this mode for 247 000 instructions.
    const { machine } = agrees("t-v86-monitor", PENTIUM4, { bt: { user } });
    const accounts = byName(machine);
    const retired = (activity: string): number => accounts[`guest-user/${activity}`]?.retired ?? 0;
    expect(retired(user === "direct" ? "instructions" : "identical")).toBeGreaterThan(150_000);
    // What is left is what follows STI; single steps where there is no code that the processor could step.
    expect(machine.technique.counters()["emulation.instructions"]).toBeLessThan(user === "direct" ? 50 : 250);
    for (const guest of user === "direct" ? [] : ["t-v86", "t-v86-strict", "t-modes"]) {
      const counters = agrees(guest, PENTIUM4, { bt: { user } }).machine.technique.counters();
      expect(counters["emulation.instructions"], guest).toBeLessThan(10);
    }
  },
  120_000,
);

test("at CPL 0 popek-goldberg sees nothing but its own machine; at CPL 3, executed directly, what products showed", () => {
  const rows = (setup: Partial<Setup>): ReadonlyMap<string, string> => {
    const rig = boot({ technique: "bt", guest: "popek-goldberg", ...setup });
    rig.machine.run(3 * LIMIT);
    return printedRows(text(rig.serial));
  };
  const native = rows({ technique: "native" });
  const different = (other: ReadonlyMap<string, string>): string[] =>
    [...native].filter(([row, value]) => other.get(row) !== value).map(([row]) => row);
  expect(different(rows({ bt: { user: "translate" } }))).toEqual([]);
  const seen = different(rows({}));
  expect(seen.length).toBeGreaterThan(0);
  expect(seen.filter((row) => !/-3(-|$)/.test(row))).toEqual([]);
});
