/** Where the project's data is, whether this code runs from its sources or compiled from dist/. */
import { existsSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

function findRoot(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, "package.json"))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error(`no package.json above ${import.meta.dirname}`);
    folder = parent;
  }
  return folder;
}

/** The project's root folder. */
export const ROOT = findRoot();
export const SUITES_FOLDER = join(ROOT, "experiments", "suites");
export const IMAGES_FOLDER = join(ROOT, "workloads", "images");
export const PUBLISHED_FOLDER = join(ROOT, "results", "published");

/** Where results go when nothing is said, relative to the current folder. */
export const DEFAULT_RUNS_FOLDER = join("results", "runs");

/** A path as messages show it: relative to the current folder when it lies below it. */
export function shown(path: string): string {
  const near = relative(process.cwd(), resolve(path));
  return near === "" ? "." : near.startsWith("..") ? path : near;
}
