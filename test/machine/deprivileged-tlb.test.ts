// A monitor in the guest's linear space flushes only what it has to: while the guest runs, the processor's TLBs hold nothing
// that the shadow tables do not give now.
import { describe, expect, test } from "vitest";
import { CELL, CR4 } from "../../sim/cpu/state.ts";
import { TLB_ATTRIBUTE, type Tlb } from "../../sim/memory/tlb.ts";
import { bootRandomKernel } from "./random-kernel.ts";
import { boot, PROFILES, type Rig, type Setup } from "./rig.ts";

const TICKS = 12;
/** Cycles between two looks, a prime. */
const PERIOD = 1_499;

interface Translation {
  readonly frame: number;
  readonly attributes: number;
}

/** What the tables that the processor walks say of a linear page; null: nothing. */
function translate({ machine }: Rig, page: number): Translation | null {
  const { memory, core } = machine;
  const { state } = core;
  const pae = (state.cr4 & CR4.PAE) !== 0;
  const read = (table: number, index: number): readonly [low: number, high: number] =>
    pae
      ? [memory.read32(table + index * 8), memory.read32(table + index * 8 + 4)]
      : [memory.read32(table + index * 4), 0];
  let directory = state.get(CELL.cr3) & ~0xfff;
  if (pae) {
    const pointer = state.pdptes()[page >>> 18]?.[0] ?? 0;
    if ((pointer & 1) === 0) return null;
    directory = pointer & ~0xfff;
  }
  const [pde, pdeHigh] = read(directory, pae ? (page >>> 9) & 0x1ff : page >>> 10);
  if ((pde & 1) === 0) return null;
  const [pte, pteHigh] = read(pde & ~0xfff, page & (pae ? 0x1ff : 0x3ff));
  if ((pte & 1) === 0) return null;
  const rights = pde & pte;
  return {
    frame: pte >>> 12,
    attributes:
      ((rights & 2) !== 0 ? TLB_ATTRIBUTE.WRITABLE : 0) |
      ((rights & 4) !== 0 ? TLB_ATTRIBUTE.USER : 0) |
      ((pdeHigh | pteHigh) >= 0 ? TLB_ATTRIBUTE.EXECUTABLE : 0),
  };
}

const RIGHTS = TLB_ATTRIBUTE.WRITABLE | TLB_ATTRIBUTE.USER | TLB_ATTRIBUTE.EXECUTABLE;

function staleIn(rig: Rig, tlb: Tlb): string[] {
  const stale: string[] = [];
  for (const { number, shift, base, attributes } of tlb.firstLevel()) {
    const wanted = shift === 12 ? translate(rig, number) : null;
    const extra = attributes & RIGHTS & ~(wanted?.attributes ?? 0);
    if (wanted === null || wanted.frame !== base / 4096 || extra !== 0)
      stale.push(
        `linear page 0x${number.toString(16)}: ${base.toString(16)}, rights ${attributes}, not ${JSON.stringify(wanted)}`,
      );
  }
  return stale;
}

/** Runs a guest to its end, or for so many cycles, and looks at the TLBs wherever the guest happens to run. */
function looks(rig: Rig, cycles: number): number {
  const { machine } = rig;
  let count = 0;
  for (let until = 0; until < cycles; until += PERIOD) {
    const end = machine.run(until * TICKS);
    if (machine.core.state.cpl !== 0) {
      count++;
      const { data, instruction } = machine.core.mmu.tlbs;
      const stale = [...staleIn(rig, data), ...staleIn(rig, instruction)];
      if (stale.length !== 0) expect(`at ${until} cycles: ${stale.join("; ")}`).toBe("");
    }
    if (end.kind !== "limit") break;
  }
  return count;
}

const TECHNIQUES = ["classical", "bt"] as const;

describe.each(PROFILES.flatMap((profile) => TECHNIQUES.map((technique) => [technique, profile] as const)))(
  "under %s on %s",
  (technique, profile) => {
    const setup: Setup = { technique, profile, pmapLayout: "shuffled" };
    test.each([
      ["kernel", ""],
      ["t-paging", ""],
      ["t-pae", ""],
      ["t-pagetables", ""],
      ["t-smc", ""],
      ["kstorm", "scale=1"],
    ])("the TLBs under %s", (guest, commandLine) => {
      expect(looks(boot({ ...setup, guest, commandLine }), 4e7)).toBeGreaterThan(50);
    });

    test("the TLBs under random kernels", () => {
      let count = 0;
      for (let seed = 1; seed <= 60; seed++) count += looks(bootRandomKernel(seed, setup), 3e6);
      expect(count).toBeGreaterThan(300);
    });
  },
);
