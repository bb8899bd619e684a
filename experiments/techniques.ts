/**
 * Which technique runs over which memory model on which processor: the combinations that existed. All others are
 * refused with the reason.
 */
import type { Profile } from "../sim/cpu/profiles/profile.ts";
import { Problem } from "./problem.ts";
import { hint } from "./suggest.ts";

export interface TechniqueInfo {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  /** Memory models that it was combined with; the first is what is meant when none is named. */
  readonly memory: readonly string[];
  /** Why a processor cannot run it, null when it can. */
  readonly missing: (profile: Profile) => string | null;
}

export const TECHNIQUES: readonly TechniqueInfo[] = [
  {
    name: "native",
    title: "native",
    description: "the guest on the bare machine, the baseline",
    memory: ["direct"],
    missing: () => null,
  },
  {
    name: "vtx",
    title: "VT-x",
    description: "trap and emulate by first-generation Intel VT-x",
    memory: ["shadow"],
    missing: (profile) => (profile.vmx === null ? `${profile.name} has no VMX` : null),
  },
];

export interface MemoryModelInfo {
  readonly name: string;
  readonly description: string;
}

export const MEMORY_MODELS: readonly MemoryModelInfo[] = [
  { name: "direct", description: "the processor walks the guest's own page tables" },
  { name: "shadow", description: "the monitor derives shadow page tables from the guest's and traces writes to those" },
];

/** Combinations that people try, with the reason why they never existed. */
const NEVER_EXISTED: readonly { readonly technique: string; readonly memory: string; readonly reason: string }[] = [
  { technique: "native", memory: "shadow", reason: "bare hardware has no monitor that could keep shadow tables" },
  { technique: "native", memory: "ept", reason: "bare hardware has no monitor that could keep second-stage tables" },
  { technique: "native", memory: "npt", reason: "bare hardware has no monitor that could keep second-stage tables" },
  {
    technique: "vtx",
    memory: "direct",
    reason: "with its own page tables in force the guest would own the machine's memory",
  },
  { technique: "vtx", memory: "ept", reason: "the first generation of VT-x has no EPT, which came in 2008" },
  { technique: "vtx", memory: "npt", reason: "nested page tables are AMD-V's" },
];

export const TECHNIQUE_NAMES: readonly string[] = TECHNIQUES.map((technique) => technique.name);
export const MEMORY_MODEL_NAMES: readonly string[] = MEMORY_MODELS.map((model) => model.name);

/** A technique with the memory model it runs over. */
export interface Combination {
  readonly technique: string;
  readonly memory: string;
}

/** The technique of this name. Throws a Problem (`unknown-technique`). */
export function techniqueNamed(name: string): TechniqueInfo {
  const found = TECHNIQUES.find((technique) => technique.name === name);
  if (found !== undefined) return found;
  throw new Problem("unknown-technique", `no technique "${name}"${hint(name, TECHNIQUE_NAMES)}`);
}

/** A technique and a memory model by name; the technique's own when none is named. Throws a Problem. */
export function combination(technique: string, memory?: string): Combination {
  const info = techniqueNamed(technique);
  const chosen = memory ?? (info.memory[0] as string);
  if (info.memory.includes(chosen)) return { technique, memory: chosen };
  const tried = NEVER_EXISTED.find((each) => each.technique === technique && each.memory === chosen);
  if (tried === undefined && !MEMORY_MODEL_NAMES.includes(chosen)) {
    throw new Problem("unknown-technique", `no memory model "${chosen}"${hint(chosen, MEMORY_MODEL_NAMES)}`);
  }
  const reason = tried === undefined ? "" : `: ${tried.reason}`;
  throw new Problem(
    "impossible-combination",
    `${technique} never ran over memory model ${chosen}${reason} (use ${info.memory.join(" or ")})`,
  );
}

/** Reads `vtx+shadow` or `vtx`. Throws a Problem. */
export function parseCombination(text: string): Combination {
  const [technique, memory, ...rest] = text.split("+");
  if (rest.length > 0 || technique === undefined) {
    throw new Problem("unknown-technique", `"${text}" is not a technique; write one like vtx or vtx+shadow`);
  }
  return combination(technique, memory);
}

/** Throws a Problem (`impossible-combination`) when this processor never ran this technique. */
export function checkProcessor(profile: Profile, { technique }: Combination): void {
  const reason = techniqueNamed(technique).missing(profile);
  if (reason === null) return;
  throw new Problem("impossible-combination", `${technique} cannot run on ${profile.name}: ${reason}`);
}

/** How a combination is written in tables and on the command line: `native`, `vtx+shadow`. */
export function combinationLabel({ technique, memory }: Combination): string {
  return technique === "native" ? "native" : `${technique}+${memory}`;
}

/** How a combination is written in figures: `native`, `VT-x + shadow`. */
export function combinationTitle({ technique, memory }: Combination): string {
  const info = TECHNIQUES.find((each) => each.name === technique);
  const title = info?.title ?? technique;
  return technique === "native" ? title : `${title} + ${memory}`;
}
