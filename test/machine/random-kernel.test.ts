// Random kernels under every technique against bare hardware: how they end, and what they told the
// digest port of every event; without timer interrupts also all registers and all of RAM.
// More of them by hand, and other techniques: `node scripts/random-kernels.mjs [-t TECHNIQUE] FIRST COUNT`.
import { describe, expect, inject, test } from "vitest";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import { TECHNIQUE_NAMES, type TechniqueName } from "../../sim/machine.ts";
import type { RunEnd } from "../../sim/result.ts";
import { AT } from "./kernel-frame.ts";
import { bootRandomKernel, randomKernel } from "./random-kernel.ts";
import { differences, guestRam, LIMIT, registers, verdict } from "./rig.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Other kernels than usual, other techniques. */
    readonly kernels?: { readonly first: number; readonly count: number; readonly techniques?: readonly string[] };
  }
}

/** Those that are to hide from every kernel that it does not run on bare hardware. */
const USUAL: readonly TechniqueName[] = ["vtx", "bt"];
/**
 * Techniques that execute CPL 3 directly, where SGDT and its like show what the processor has: kernels for them have none there. PUSHF
 * shows IF as the processor has it, too; of what user code pushes and pops the words stay behind, below its stack pointer.
 */
const DIRECT: readonly TechniqueName[] = TECHNIQUE_NAMES.filter((name) => name !== "native" && name !== "vtx");
/** A few programs run away in what they have copied; of each batch at least 1000 / 4 come to an end, natively soon. */
const USUAL_COUNT = process.env.RINGLAB_LONG_TESTS === undefined ? 260 : 1040;
const { first, count, techniques = USUAL } = inject("kernels") ?? { first: 1, count: USUAL_COUNT };
const BATCH = 260;
const SOON = 1_500_000 * TICKS_PER_CYCLE;

const ACCESSED_AND_DIRTY = 0x60;
const inTables = (at: number): boolean => at >= AT.directoryA && at < AT.tablesEnd;
const inUserStack = (at: number): boolean => at >= AT.userStackTop - 0x1000 && at < AT.userStackTop;
/** A few kernels run through all of the window and what is behind it, once: nothing but translation, for a long time. */
const RUNS_AWAY = 30_000;
const LONGER = 4 * LIMIT;

/** How both end; "limit": not compared. After a shutdown registers are nobody's. */
function compare(seed: number, technique: TechniqueName): RunEnd["kind"] {
  const direct = DIRECT.includes(technique);
  const contents = { sensitiveAtCpl3: !direct };
  const native = bootRandomKernel(seed, { technique: "native" }, contents);
  const end = native.machine.run(SOON);
  if (end.kind === "limit") return "limit";
  if (direct && native.machine.ledger.retiredIn(["guest-user", "guest-kernel"]) > RUNS_AWAY) return "limit";
  const other = bootRandomKernel(seed, { technique, pmapLayout: "shuffled", seed }, contents);
  expect({ seed, ...verdict(other, other.machine.run(direct ? LONGER : LIMIT)) }).toEqual({
    seed,
    ...verdict(native, end),
  });
  if (end.kind !== "exit" || randomKernel(seed, contents).interrupts) return end.kind;

  expect({ seed, ...registers(other.machine) }).toEqual({ seed, ...registers(native.machine) });
  const [ours, theirs] = [guestRam(other.machine), guestRam(native.machine)];
  const wrong = differences(ours, theirs).filter((at) => {
    const bits = (ours[at / 4] as number) ^ (theirs[at / 4] as number);
    if (direct && inUserStack(at)) return false;
    return !inTables(at) || (bits & ~ACCESSED_AND_DIRTY) !== 0;
  });
  expect([seed, ...wrong.map((at) => at.toString(16))]).toEqual([seed]);
  return end.kind;
}

function named(name: string): TechniqueName {
  const technique = TECHNIQUE_NAMES.find((each) => each === name);
  if (technique === undefined) throw new Error(`no technique "${name}": ${TECHNIQUE_NAMES.join(", ")}`);
  return technique;
}

describe.each(techniques.map(named))("random kernels under %s", (technique) => {
  for (let from = first; from < first + count; from += BATCH) {
    const end = Math.min(from + BATCH, first + count);
    test(`${from} to ${end - 1} do the same as on bare hardware`, () => {
      const kinds = { exit: 0, "triple-fault": 0, "dead-halt": 0, limit: 0 };
      for (let seed = from; seed < end; seed++) {
        const kind = compare(seed, technique);
        if (!(kind in kinds)) throw new Error(`${seed} ends with ${kind}`);
        kinds[kind as keyof typeof kinds]++;
      }
      expect(kinds.exit).toBeGreaterThan(0.9 * (end - from));
      expect(kinds.limit).toBeLessThanOrEqual((end - from) / 26);
    }, 300_000);
  }
});
