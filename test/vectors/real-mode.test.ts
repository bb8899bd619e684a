// Real-address mode against 16 250 instructions of a real 80286. The 286 is not a P6: what they do differently is the
// table of this file, with the manual's reason; all else must be as recorded. Skipped where the data are absent.
import { describe, expect, test } from "vitest";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import { FLAG } from "../../sim/cpu/state.ts";
import { comparableFlags, RealModeRig, type RealModeVector, realModeMismatches, realModeVectors } from "./real-mode.ts";

type Patch = readonly (readonly [address: number, byte: number])[];

interface Difference {
  readonly name: string;
  /** What the manual says of the processors after the 286. */
  readonly reason: string;
  readonly applies: (vector: RealModeVector) => boolean;
  /** Flags that are not compared, in the register and in an exception's frame. */
  readonly flags?: number;
  /** There is nothing to compare. */
  readonly skip?: boolean;
  readonly without?: readonly ("cx" | "si" | "di")[];
  /** Memory with which the later processor must end as the recording does. */
  readonly patch?: (vector: RealModeVector) => Patch;
}

const DE = 0;
const GP = 13;
const hasLock = ({ bytes }: RealModeVector): boolean => /^(26|2e|36|3e|f2|f3)*f0/.test(bytes);
const isWordString = ({ f }: RealModeVector): boolean => ["6D", "6F", "A5", "A7", "AB", "AD", "AF"].includes(f);
const ofVector = (vector: RealModeVector, n: number): Patch => vector.i.ram.filter(([at]) => at >> 2 === n);

const DIFFERENCES: readonly Difference[] = [
  {
    name: "a string instruction that faults has moved SI, DI or CX",
    reason:
      "SDM vol. 3, 6.5: a fault leaves the state from before the instruction; the 286 could not restart all of them",
    applies: (vector) => isWordString(vector) && vector.exc === GP,
    without: ["cx", "si", "di"],
  },
  {
    name: "a word through SS at offset FFFFh is exception 13",
    reason: "SDM vol. 2, real-address mode exceptions: #SS if a memory operand is outside the SS segment limit",
    applies: (vector) => vector.exc === GP && throughStack(vector),
    patch: (vector) => ofVector(vector, GP).map(([address, byte]) => [address - 4, byte]),
  },
  {
    name: "an instruction of more than 10 bytes is exception 13",
    reason: "SDM vol. 3, 22.34 (instruction length): the limit is 15 bytes from the 386 on, and 10 on the 286",
    applies: ({ bytes, exc }) => exc === GP && bytes.length / 2 - 1 > 10,
    skip: true,
  },
  {
    name: "OF after SHR by a count other than 1",
    reason: "SDM vol. 2, SHR: OF is undefined for multi-bit shifts",
    applies: ({ f }) => f === "C0.5",
    flags: FLAG.OF,
  },
  {
    name: "flags in the frame of a divide error",
    reason: "SDM vol. 2, DIV, IDIV: status flags are undefined; AAM raises #DE before it computes any",
    applies: (vector) => vector.exc === DE && /^(D4|F[67]\.[67])$/.test(vector.f),
    flags: 0x8d5,
  },
];

/** Whether the operand is in the stack segment: by the last override, a base of BP, or the stack itself. */
function throughStack({ name, bytes }: RealModeVector): boolean {
  const override = /^(?:26|2e|36|3e|f2|f3|f0)*/
    .exec(bytes)?.[0]
    .match(/26|2e|36|3e/g)
    ?.at(-1);
  return /^(ret|leave)/.test(name) || (override === undefined ? /\[bp/.test(name) : override === "36");
}

/** Forms with a memory destination that LOCK may precede (SDM vol. 2, LOCK). */
const LOCKABLE = /^(0[01]|0[89]|1[01]|1[89]|2[01]|2[89]|3[01]|8[0-3]\.[0-6]|8[67]|F[67]\.[23]|F[EF]\.[01])$/;

/** LOCK before anything else: the 286 ignores it (in real-address mode), later processors raise #UD. */
function isRefusedLock(vector: RealModeVector): boolean {
  return hasLock(vector) && !(LOCKABLE.test(vector.f) && vector.name.includes("["));
}

const vectors = realModeVectors();

describe.skipIf(vectors === null)("the core does in real-address mode what an 80286 did", () => {
  const rig = new RealModeRig(profileNamed("pentium4-672"));

  test("in every vector, but for the differences that are listed", { timeout: 240_000 }, () => {
    const masks = comparableFlags();
    const failures: string[] = [];
    const used = new Map(DIFFERENCES.map(({ name }) => [name, 0]));
    let compared = 0;
    for (const vector of (vectors ?? []).filter((v) => !isRefusedLock(v))) {
      compared++;
      const differences = DIFFERENCES.filter(({ applies }) => applies(vector));
      for (const { name } of differences) used.set(name, (used.get(name) ?? 0) + 1);
      if (differences.some(({ skip }) => skip === true)) continue;
      const patches = differences.flatMap(({ patch }) => patch?.(vector) ?? []);
      const undefinedFlags = differences.reduce((all, { flags }) => all | (flags ?? 0), 0);
      const mismatches = realModeMismatches(vector, rig.run(vector, patches), {
        flagsMask: (masks.get(vector.f) ?? 0xffff) & ~undefinedFlags,
        without: differences.flatMap(({ without }) => without ?? []),
      });
      if (mismatches.length > 0) failures.push(`${vector.f} ${vector.name} ${vector.bytes}: ${mismatches.join("; ")}`);
    }
    expect(failures).toEqual([]);
    expect(compared).toBeGreaterThan(15_000);
    expect([...used].filter(([, count]) => count === 0)).toEqual([]);
  });

  test("and refuses LOCK with #UD where the 286 ignored it", { timeout: 60_000 }, () => {
    const handler = 0x500;
    const patch: Patch = [
      ...[handler & 0xff, handler >> 8, 0, 0].map((byte, n) => [6 * 4 + n, byte] as const),
      [handler, 0xf4],
    ];
    const failures: string[] = [];
    const refused = (vectors ?? []).filter(isRefusedLock);
    for (const vector of refused) {
      const { regs, end } = rig.run(vector, patch);
      const unchanged = (["ax", "cx", "dx", "bx", "bp", "si", "di"] as const).every(
        (r) => regs[r] === vector.i.regs[r],
      );
      if (end !== "halted" || regs.cs !== 0 || regs.ip !== handler + 1 || !unchanged) failures.push(vector.name);
    }
    expect(failures).toEqual([]);
    expect(refused.length).toBeGreaterThan(100);
  });
});
