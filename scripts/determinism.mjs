// Same inputs, same bytes: runs a suite twice without the cache, with different numbers of workers, and compares every
// file that the two runs wrote, byte by byte.
//
//   node scripts/determinism.mjs [suite]

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const suite = process.argv[2] ?? "experiments/suites/adams-agesen-2006.yaml";
const folder = mkdtempSync(join(tmpdir(), "ringlab-determinism-"));

try {
  const runs = [1, 2].map((workers) => run(workers));
  const differences = compare(runs[0], runs[1]);
  if (runs[0].files.size === 0) throw new Error(`${suite} wrote no files: nothing was compared`);
  for (const line of differences) console.error(line);
  const stdoutDiffers = runs[0].stdout !== runs[1].stdout;
  if (stdoutDiffers) console.error("the two runs printed different text");
  if (differences.length > 0 || stdoutDiffers) process.exitCode = 1;
  else console.log(`${suite}: ${runs[0].files.size} files, the same bytes with 1 and with 2 workers`);
} catch (error) {
  console.error(`determinism: ${error.message}`);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Files of one run by relative path, and what it printed with its own folder's name taken out. */
function run(workers) {
  const out = join(folder, `workers-${workers}`);
  const args = ["run", suite, "--no-cache", "--workers", String(workers), "--out", out];
  const result = spawnSync(process.execPath, [join(root, "bin", "ringlab.js"), ...args], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 1 << 28,
  });
  if (result.status !== 0) {
    throw new Error(`ringlab ${args.join(" ")} ended with ${result.status ?? result.signal}\n${result.stderr}`);
  }
  const paths = readdirSync(out, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const files = new Map(
    paths
      .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
      .sort()
      .map((path) => [relative(out, path), readFileSync(path)]),
  );
  return { files, stdout: result.stdout.replaceAll(out, "OUT") };
}

function compare(first, second) {
  const names = [...new Set([...first.files.keys(), ...second.files.keys()])].sort();
  return names.flatMap((name) => {
    const [a, b] = [first.files.get(name), second.files.get(name)];
    if (a === undefined || b === undefined) return [`${name}: written by one run only`];
    if (a.equals(b)) return [];
    const at = a.findIndex((byte, index) => byte !== b[index]);
    return [`${name}: differs from byte ${at < 0 ? a.length : at} on`];
  });
}
