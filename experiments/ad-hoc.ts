/** Suites that nobody wrote down: one workload over what there is, and a written suite with some values replaced. */
import { basename, extname } from "node:path";
import { PROFILE_NAMES, profileNamed } from "../sim/cpu/profiles/catalogue.ts";
import type { Suite } from "./suite.ts";
import type { FigureName, Parameters } from "./suite-schema.ts";
import { checkProcessor, checkProfile, parseCombination, TECHNIQUES } from "./techniques.ts";
import { findWorkload } from "./workloads.ts";

/** What the command line may say about a run; what is absent stays as it is. */
export interface Choices {
  readonly profiles?: readonly string[];
  readonly techniques?: readonly string[];
  readonly parameters?: Parameters;
  readonly repetitions?: number;
  readonly seed?: number;
  readonly guestMemoryMb?: number;
  readonly maxCycles?: number;
}

/** A suite of one workload (name or path), on all profiles and the techniques that run any guest, unless the choices say less. */
export function suiteOf(target: string, loadAddress: number | undefined, choices: Choices): Suite {
  const workload = findWorkload(target);
  const figures: FigureName[] = workload.kind === "nanobenchmark" ? ["nanobenchmarks", "accounts"] : ["accounts"];
  const name = workload.kind === "image" ? basename(target, extname(target)) : workload.name;
  const suite: Suite = {
    name,
    title: `${name}: ${workload.description}`,
    profiles: PROFILE_NAMES,
    techniques: TECHNIQUES.filter(({ onlyIfNamed }) => onlyIfNamed !== true).map(({ name: technique, memory }) => ({
      technique,
      memory: memory[0] as string,
    })),
    workloads: [{ workload, parameters: {}, ...(loadAddress === undefined ? {} : { loadAddress }) }],
    ...{ repetitions: 1, seed: 1, guestMemoryMb: 64, maxCycles: 4e9, figures },
  };
  return chosen(suite, choices);
}

/** The suite with the choices in place of its own values. Throws a Problem. */
export function chosen(suite: Suite, choices: Choices): Suite {
  const { profiles, techniques, parameters, ...numbers } = choices;
  profiles?.forEach(checkProfile);
  const combinations = techniques?.map(parseCombination) ?? suite.techniques;
  for (const profile of profiles ?? suite.profiles) {
    for (const each of combinations) checkProcessor(profileNamed(profile), each);
  }
  return {
    ...suite,
    ...{ profiles: profiles ?? suite.profiles, techniques: combinations },
    workloads: suite.workloads.map(({ repetitions, ...each }) => ({
      ...each,
      parameters: { ...each.parameters, ...parameters },
      ...(repetitions === undefined || choices.repetitions !== undefined ? {} : { repetitions }),
    })),
    ...numbers,
  };
}
