/** A hash of the simulator's code: a result is good for the code that made it, and for no other. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";

/** Files outside sim/ that take part in a run. */
const RUN_FILES = ["experiments/simulate.js", "experiments/images.js", "experiments/elf.js"];

/** Hash of the compiled simulator below `dist`: every .js file of sim/, and what experiments/ adds to a run. */
export function codeFingerprint(dist: string): string {
  const hash = createHash("sha256");
  const sim = join(dist, "sim");
  const files = readdirSync(sim, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".js"))
    .map((entry) => join(entry.parentPath, entry.name));
  for (const path of [...files, ...RUN_FILES.map((file) => join(dist, file))].sort()) {
    if (!existsSync(path)) continue;
    const bytes = readFileSync(path);
    hash.update(`${relative(dist, path)}:${bytes.length}:`).update(bytes);
  }
  return hash.digest("hex");
}
