/** Which suite a name means. What is in it: suite.ts. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { SUITES_FOLDER } from "./paths.ts";

/** The path of a suite named by path or by the name of a file in experiments/suites; undefined when there is none. */
export function findSuite(name: string): string | undefined {
  const candidates = [resolve(name), join(SUITES_FOLDER, name), join(SUITES_FOLDER, `${name}.yaml`)];
  const isSuite = (path: string) => /\.ya?ml$/.test(path) && existsSync(path) && statSync(path).isFile();
  return candidates.find(isSuite);
}

/** Names of the suites that come with the project. */
export function suiteNames(): readonly string[] {
  return readdirSync(SUITES_FOLDER)
    .filter((file) => file.endsWith(".yaml"))
    .map((file) => basename(file, ".yaml"))
    .sort();
}
