// Techniques against bare hardware: exit status, serial output but for lines that begin `t:`,
// and digest; for timeless guests also every register and all of RAM, but for A and D bits of page-table entries.
//
// Which words are page-table entries is the monitor's knowledge: a page counts if it was ever traced. Bytes below the
// stack pointer are compared too: under this monitor they do not differ.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { imagesFolder } from "../guests.ts";
import {
  boot,
  differences,
  GUESTS,
  guestRam,
  isTimeless,
  LIMIT,
  monitorOf,
  PENTIUM4,
  PROFILES,
  type Rig,
  registers,
  type Setup,
  shortCommandLine,
  text,
  verdict,
} from "./rig.ts";

/** Executes VMX where it finds it: on bare hardware it does, in a virtual machine of this monitor it cannot. */
const DEPENDS_ON_VMX = ["vmx-guest"];
/** Tens of millions of instructions, or of iterations of string instructions: on one profile only. */
const LONG = [
  ...["t-strings", "t-integer", "ptemod-unchanged", "ptemod-p2np", "t-code", "t-precise", "t-flow", "t-hostile"],
  ...["t-odd-strict", "t-limits", "t-sse"],
];

/** PTE and PDE flags that a walk sets. */
const ACCESSED_AND_DIRTY = 0x60;

interface Ended {
  readonly rig: Rig;
  readonly verdict: object;
  readonly serial: string;
}

function run(setup: Setup): Ended {
  const rig = boot(setup);
  const end = rig.machine.run(LIMIT);
  return { rig, verdict: verdict(rig, end), serial: text(rig.serial, false) };
}

/** Runs under VT-x, and collects the guest pages that were ever traced as page tables. */
function runTraced(setup: Setup): Ended & { readonly traced: ReadonlySet<number> } {
  const traced = new Set<number>();
  let seen = -1;
  const rig: Rig = boot({
    ...setup,
    observer: {
      exit() {
        const { shadow } = monitorOf(rig.machine);
        const created = shadow.counters()["shadow.pages.created"] as number;
        if (created === seen) return;
        seen = created;
        const pages = rig.machine.guestBytes / 4096;
        for (let page = 0; page < pages; page++) if (shadow.isTraced(page)) traced.add(page);
      },
    },
  });
  const end = rig.machine.run(LIMIT);
  return { rig, verdict: verdict(rig, end), serial: text(rig.serial, false), traced };
}

describe.each(PROFILES)("on %s", (profile) => {
  const guests = GUESTS.filter((guest) => !DEPENDS_ON_VMX.includes(guest)).filter(
    (guest) => profile === PENTIUM4 || !LONG.includes(guest),
  );

  test.each(guests)("%s ends the same under VT-x as on bare hardware", (guest) => {
    const native = run({ technique: "native", profile, guest });
    expect(native.verdict).toMatchObject({ end: { kind: "exit", status: 0 } });
    const expected = readFileSync(join(imagesFolder, `${guest}.expected`), "utf8");
    if (shortCommandLine(guest) === "") expect(native.serial).toBe(expected);
    else expect(withoutParameters(native.serial)).toBe(withoutParameters(expected));

    const setup: Setup = { technique: "vtx", profile, guest };
    if (!isTimeless(guest)) {
      expect(run(setup).verdict).toEqual(native.verdict);
      return;
    }
    const vtx = runTraced(setup);
    expect(vtx.verdict).toEqual(native.verdict);
    expect(registers(vtx.rig.machine)).toEqual(registers(native.rig.machine));
    const [ours, theirs] = [guestRam(vtx.rig.machine), guestRam(native.rig.machine)];
    const wrong = differences(ours, theirs).filter((at) => {
      const bits = (ours[at / 4] as number) ^ (theirs[at / 4] as number);
      return (bits & ~ACCESSED_AND_DIRTY) !== 0 || !vtx.traced.has(at >>> 12);
    });
    expect(wrong.map((at) => at.toString(16))).toEqual([]);
  });
});

/** Serial output but for what depends on iterations or scale. */
function withoutParameters(serial: string): string {
  return serial.replace(/^(iterations|digest) .*$|\b\d+ rounds?|checksum .*$/gm, "");
}

test("nanobenchmarks with their default parameters write what is expected", () => {
  for (const guest of ["syscall-int", "pgfault", "mov-cr3", "cpuid"]) {
    const { serial } = run({ technique: "native", guest, commandLine: "" });
    expect(serial).toBe(readFileSync(join(imagesFolder, `${guest}.expected`), "utf8"));
  }
});
