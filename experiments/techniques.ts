/**
 * Which technique runs over which memory model on which processor: the combinations that existed. All others are
 * refused with the reason.
 */
import { PROFILE_NAMES } from "../sim/cpu/profiles/catalogue.ts";
import type { Profile } from "../sim/cpu/profiles/profile.ts";
import { BT_PARAMETERS } from "../sim/techniques/bt/parameters.ts";
import { CLASSICAL_PARAMETERS } from "../sim/techniques/deprivileged/parameters.ts";
import type { ParameterInfo } from "../sim/techniques/parameters.ts";
import { Problem } from "./problem.ts";
import { hint } from "./suggest.ts";
import { parametersFrom, type TechniqueParameters, variantOf } from "./technique-parameters.ts";

export interface TechniqueInfo {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  /** Memory models that it was combined with; the first is what is meant when none is named. */
  readonly memory: readonly string[];
  /** Kernels do not survive it unless they are written so: it runs only where it is asked for. */
  readonly onlyIfNamed?: boolean;
  /** What can be varied of it. */
  readonly parameters: readonly ParameterInfo[];
  /** Why a processor cannot run it, null when it can. */
  readonly missing: (profile: Profile) => string | null;
}

export const TECHNIQUES: readonly TechniqueInfo[] = [
  {
    name: "native",
    title: "native",
    description: "the guest on the bare machine, the baseline",
    memory: ["direct"],
    parameters: [],
    missing: () => null,
  },
  {
    name: "classical",
    title: "classical",
    description: "trap and emulate by de-privileging alone, which x86 does not allow: for kernels that survive it",
    memory: ["shadow"],
    onlyIfNamed: true,
    parameters: CLASSICAL_PARAMETERS,
    missing: () => null,
  },
  {
    name: "bt",
    title: "BT",
    description: "binary translation of kernel code, user code executed directly",
    memory: ["shadow"],
    parameters: BT_PARAMETERS,
    missing: () => null,
  },
  {
    name: "vtx",
    title: "VT-x",
    description: "trap and emulate by first-generation Intel VT-x",
    memory: ["shadow"],
    parameters: [],
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
  /** Its parameters that are not the usual ones, `chaining=false unitSize=4`; absent, or empty, when all are. */
  readonly variant?: string;
}

/** The technique of this name. Throws a Problem (`unknown-technique`). */
export function techniqueNamed(name: string): TechniqueInfo {
  const found = TECHNIQUES.find((technique) => technique.name === name);
  if (found !== undefined) return found;
  throw new Problem("unknown-technique", `no technique "${name}"${hint(name, TECHNIQUE_NAMES)}`);
}

/** A technique and a memory model by name; the technique's own when none is named. Throws a Problem. */
export function combination(technique: string, memory?: string, parameters: TechniqueParameters = {}): Combination {
  const info = techniqueNamed(technique);
  const chosen = memory ?? (info.memory[0] as string);
  if (info.memory.includes(chosen)) {
    const variant = variantOf(info, parameters);
    return { technique, memory: chosen, ...(variant === "" ? {} : { variant }) };
  }
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

/** Reads `vtx+shadow`, `vtx`, or with parameters `bt+shadow,chaining=false`. Throws a Problem. */
export function parseCombination(text: string): Combination {
  const [names, ...parameters] = text.split(",") as [string, ...string[]];
  const [technique, memory, ...rest] = names.split("+");
  if (rest.length > 0 || technique === undefined) {
    throw new Problem("unknown-technique", `"${text}" is not a technique; write one like vtx or vtx+shadow`);
  }
  return combination(technique, memory, parametersFrom(parameters));
}

/** Two combinations are one: the same technique, memory model and parameters. */
export function sameCombination(a: Combination, b: Combination): boolean {
  return a.technique === b.technique && a.memory === b.memory && (a.variant ?? "") === (b.variant ?? "");
}

/** Throws a Problem (`unknown-profile`) unless there is a profile of this name. */
export function checkProfile(name: string): void {
  if (PROFILE_NAMES.includes(name)) return;
  throw new Problem("unknown-profile", `no processor profile "${name}"${hint(name, PROFILE_NAMES)}`);
}

/** Throws a Problem (`impossible-combination`) when this processor never ran this technique. */
export function checkProcessor(profile: Profile, { technique }: Combination): void {
  const reason = techniqueNamed(technique).missing(profile);
  if (reason === null) return;
  throw new Problem("impossible-combination", `${technique} cannot run on ${profile.name}: ${reason}`);
}

/** How a combination is written in tables and on the command line: `native`, `vtx+shadow`, `bt+shadow,chaining=false`. */
export function combinationLabel({ technique, memory, variant = "" }: Combination): string {
  const words = variant === "" ? [] : variant.split(" ");
  return [technique === "native" ? "native" : `${technique}+${memory}`, ...words].join(",");
}

/**
 * How a suite's combinations are written when they stand beside each other: variants of one technique by what is not usual
 * about them, otherwise as `name` writes them.
 */
export function besideEachOther(
  all: readonly Combination[],
  name: (combination: Combination) => string,
): (combination: Combination) => string {
  const [first] = all;
  const alone =
    all.length > 1 && all.every(({ technique, memory }) => technique === first?.technique && memory === first.memory);
  return (each) => {
    const { variant = "" } = each;
    return alone && variant !== "" ? variant.replaceAll(" ", ", ") : name(each);
  };
}

/** How a combination is written in figures: `native`, `VT-x + shadow`, `BT + shadow, chaining=false`. */
export function combinationTitle({ technique, memory, variant = "" }: Combination): string {
  const info = TECHNIQUES.find((each) => each.name === technique);
  const title = info?.title ?? technique;
  const words = variant === "" ? [] : variant.split(" ");
  return [technique === "native" ? title : `${title} + ${memory}`, ...words].join(", ");
}
