/** `ringlab list`: what there is to choose from. */

import { readSuite } from "../experiments/suite.ts";
import { findSuite, suiteNames } from "../experiments/suite-names.ts";
import { MEMORY_MODELS, TECHNIQUES } from "../experiments/techniques.ts";
import { workloadCatalogue } from "../experiments/workloads.ts";
import { PROFILES } from "../sim/cpu/profiles/catalogue.ts";
import type { Environment } from "./environment.ts";
import { OK } from "./exit-codes.ts";

type Entry = readonly [name: string, what: string];

const LISTS: Readonly<Record<string, () => readonly Entry[]>> = {
  suites: () => suiteNames().map((name) => [name, readSuite(findSuite(name) as string).title]),
  workloads: () => workloadCatalogue().map(({ name, description }) => [name, description]),
  profiles: () => PROFILES.map(({ name, title, year }) => [name, `${title}, ${year}`]),
  techniques: () => [
    ...TECHNIQUES.map(
      ({ name, memory, description }): Entry => [name, `${description}; memory model ${memory.join(" or ")}`],
    ),
    ...TECHNIQUES.flatMap(({ name, parameters }) =>
      parameters.map((each): Entry => [`${name},${each.name}=${each.usual}`, each.description]),
    ),
    ...MEMORY_MODELS.map(({ name, description }): Entry => [`+${name}`, description]),
  ],
};

export async function listCommand(what: string | undefined, environment: Environment): Promise<number> {
  const names = what === undefined ? Object.keys(LISTS) : [what];
  const blocks = names.map((name) => {
    const entries = (LISTS[name] as () => readonly Entry[])();
    const width = Math.max(...entries.map(([entry]) => entry.length));
    const lines = entries.map(([entry, text]) => `  ${entry.padEnd(width)}  ${text}`);
    return names.length === 1 ? lines.join("\n") : [`${name}:`, ...lines].join("\n");
  });
  environment.out(`${blocks.join("\n\n")}\n`);
  return OK;
}
