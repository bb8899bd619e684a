/** Pages of docs/ that are generated from data: written only when they differ, so that a test can hold them up to date. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Writes `docs/<name>` below `root` when it differs from `wanted`; says whether it did. */
export function writeDocument(root: string, name: string, wanted: string): boolean {
  const path = join(root, "docs", name);
  if (readText(path) === wanted) return false;
  writeFileSync(path, wanted);
  return true;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** Brings the page up to date when the module `moduleUrl` is what Node was told to run, from dist/experiments/. */
export function writeWhenRun(moduleUrl: string, name: string, document: () => string): void {
  if (process.argv[1] !== fileURLToPath(moduleUrl)) return;
  const root = fileURLToPath(new URL("../..", moduleUrl));
  console.log(writeDocument(root, name, document()) ? `wrote docs/${name}` : `docs/${name} is up to date`);
}
