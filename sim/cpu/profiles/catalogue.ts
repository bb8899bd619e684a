/**
 * The processors there are, by name, and variations of one (`--set name.value=number`). Names and values come from a
 * user: what is wrong with them is said in one line, by a `ProfileError`.
 */
import { cyclesToTicks } from "../../clock.ts";
import { core2_e6700 } from "./core2-e6700.ts";
import { pentium4_672 } from "./pentium4-672.ts";
import type { CostName, Profile, Sourced, TlbGeometry, TlbSide } from "./profile.ts";
import { COST_NAMES } from "./profile.ts";

/** All profiles, in order of date. */
export const PROFILES: readonly Profile[] = [pentium4_672, core2_e6700];

export const PROFILE_NAMES: readonly string[] = PROFILES.map((profile) => profile.name);

/** What is wrong with a profile's name or with an override: bad input, not a bug. */
export class ProfileError extends Error {
  override readonly name = "ProfileError";
}

/** The profile with this name. Throws a ProfileError that lists the names there are. */
export function profileNamed(name: string): Profile {
  const found = PROFILES.find((profile) => profile.name === name);
  if (found === undefined)
    throw new ProfileError(`no processor profile "${name}"; there are ${PROFILE_NAMES.join(", ")}`);
  return found;
}

const SIDES = ["instructionTlb", "dataTlb"] as const;
const STRUCTURES = ["small", "large", "secondSmall", "secondLarge"] as const;
const GEOMETRY = ["entries", "ways"] as const;
/** Cycles per instruction of monitors' software. */
const SOFTWARE = ["monitorCpi", "deprivilegedCpi"] as const;
const COUNTS = ["frequencyMHz", "returnStackEntries", "indirectTargets"] as const;

/** Names that `withOverrides` takes for this profile, in the order of the profile. */
export function overridableNames(profile: Profile): readonly string[] {
  const names: string[] = [...COUNTS, ...SOFTWARE];
  for (const side of SIDES) {
    for (const structure of STRUCTURES) {
      if (profile[side][structure] !== undefined)
        names.push(...GEOMETRY.map((value) => `${side}.${structure}.${value}`));
    }
  }
  return [...names, ...COST_NAMES];
}

/** The present value of an overridable name. */
export function profileValue(profile: Profile, name: string): number {
  const count = COUNTS.find((each) => each === name);
  if (count !== undefined) return profile[count];
  const software = SOFTWARE.find((each) => each === name);
  if (software !== undefined) return profile[software].value;
  if (isCostName(name)) return profile.costs[name].value;
  const [side, structure, value] = tlbPath(profile, name);
  return (profile[side][structure] as TlbGeometry)[value];
}

/**
 * The profile with some values replaced: any cost, `monitorCpi`, `deprivilegedCpi`, `frequencyMHz`, `returnStackEntries`,
 * `indirectTargets`, and `entries` and `ways` of the TLBs it has (`dataTlb.small.entries`). Costs are in cycles and
 * must be multiples of 1/12. The result keeps its name; sources say what was replaced. Throws a ProfileError.
 */
export function withOverrides(profile: Profile, overrides: Readonly<Record<string, number>>): Profile {
  let result = profile;
  for (const name of Object.keys(overrides)) result = withOverride(result, name, overrides[name] as number);
  if (result !== profile) checkGeometry(result);
  return result;
}

function withOverride(profile: Profile, name: string, value: number): Profile {
  const count = COUNTS.find((each) => each === name);
  if (count !== undefined) {
    checkCount(name, value);
    return { ...profile, [count]: value };
  }
  const software = SOFTWARE.find((each) => each === name);
  if (software !== undefined) {
    checkCycles(name, value);
    return { ...profile, [software]: replaced(profile[software], value) };
  }
  if (isCostName(name)) {
    checkCycles(name, value);
    return { ...profile, costs: { ...profile.costs, [name]: replaced(profile.costs[name], value) } };
  }
  const [side, structure, dimension] = tlbPath(profile, name);
  checkCount(name, value);
  const geometry = { ...(profile[side][structure] as TlbGeometry), [dimension]: value };
  return { ...profile, [side]: { ...profile[side], [structure]: geometry } };
}

function isCostName(name: string): name is CostName {
  return (COST_NAMES as readonly string[]).includes(name);
}

function tlbPath(
  profile: Profile,
  name: string,
): [(typeof SIDES)[number], (typeof STRUCTURES)[number], "entries" | "ways"] {
  for (const side of SIDES) {
    for (const structure of STRUCTURES) {
      if (profile[side][structure] === undefined) continue;
      for (const value of GEOMETRY) if (name === `${side}.${structure}.${value}`) return [side, structure, value];
    }
  }
  throw new ProfileError(
    `profile ${profile.name} has no value "${name}"${suggestion(profile, name)}; docs/COSTS.md lists them`,
  );
}

/** The overridable names that look most like `name`, as a clause of a message. */
function suggestion(profile: Profile, name: string): string {
  const wanted = name.toLowerCase();
  const near = overridableNames(profile).filter((known) => {
    const candidate = known.toLowerCase();
    return candidate.includes(wanted) || wanted.includes(candidate) || distance(candidate, wanted) <= 2;
  });
  return wanted.length < 3 || near.length === 0 ? "" : ` (did you mean ${near.slice(0, 4).join(", ")}?)`;
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, substitution));
    }
    row = next;
  }
  return row[b.length] as number;
}

function replaced(original: Sourced, value: number): Sourced {
  return {
    value,
    unit: original.unit,
    mark: "derived",
    source: `set by the user; was ${original.value} (${original.mark}: ${original.source})`,
  };
}

function checkCycles(name: string, value: number): void {
  if (!Number.isFinite(value) || value < 0) throw new ProfileError(`${name} must be a number of cycles, not ${value}`);
  try {
    cyclesToTicks(value);
  } catch {
    const nearest = Math.round(value * 12) / 12;
    throw new ProfileError(
      `${name} must be a multiple of 1/12 cycle, not ${value}; the nearest is ${Number(nearest.toFixed(9))}`,
    );
  }
}

function checkCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1)
    throw new ProfileError(`${name} must be a whole number from 1, not ${value}`);
}

function checkGeometry(profile: Profile): void {
  for (const side of SIDES) {
    for (const structure of STRUCTURES) {
      const geometry = (profile[side] as TlbSide)[structure];
      if (geometry === undefined || geometry.entries % geometry.ways === 0) continue;
      const path = `${side}.${structure}`;
      throw new ProfileError(
        `${path}.entries (${geometry.entries}) must be a multiple of ${path}.ways (${geometry.ways})`,
      );
    }
  }
}
