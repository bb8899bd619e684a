// Loads the files of dist/start, CommonJS, together with what V8 had compiled of them when they were set up (`X-TAG.code` beside
// `X.cjs`, made by scripts/keep-code.mjs): parsing and compiling them anew takes longer than a nanobenchmark runs. The tag is
// V8's own, of its version and flags: where there is no such file they are compiled as ever.

import { createHash } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { cachedDataVersionTag } from "node:v8";
import { Script } from "node:vm";

/** By path: each file's exports, and the compiled script. */
const loaded = new Map();

/** The exports of the file at `path`, which is run the first time. */
export function load(path) {
  const known = loaded.get(path);
  if (known !== undefined) return known.module.exports;
  const bytes = readFileSync(path);
  const digest = createHash("sha256").update(bytes).digest();
  const cachedData = keptCode(path, digest);
  // They are ASCII, and functions of what a module of CommonJS may use (scripts/bundle.mjs).
  const script = new Script(bytes.latin1Slice(), {
    filename: path,
    ...(cachedData === undefined ? {} : { cachedData }),
  });
  const module = { exports: {} };
  loaded.set(path, { module, script, digest });
  const folder = dirname(path);
  const others = createRequire(path);
  const require = (name) => (name.startsWith("./") ? load(join(folder, name)) : others(name));
  script.runInThisContext()(module.exports, Object.assign(require, others), module, path, folder);
  return module.exports;
}

/** Writes what is compiled by now of every file that was loaded, for V8 as it is, flags included. */
export function keepCode() {
  for (const [path, { script, digest }] of loaded) {
    const file = codeFile(path);
    writeFileSync(`${file}.new`, Buffer.concat([digest, script.createCachedData()]));
    renameSync(`${file}.new`, file); // someone may be reading it
  }
}

/** Files that were loaded, and whether V8 took the code that was kept: undefined where there was none. */
export function loadedFiles() {
  return [...loaded].map(([path, { script }]) => ({
    path,
    taken: script.cachedDataRejected === undefined ? undefined : !script.cachedDataRejected,
  }));
}

/** V8 itself looks only at the length of the source. */
function keptCode(path, digest) {
  try {
    const kept = readFileSync(codeFile(path));
    return kept.subarray(0, digest.length).equals(digest) ? kept.subarray(digest.length) : undefined;
  } catch {
    return undefined;
  }
}

function codeFile(path) {
  return path.replace(/\.cjs$/, `-${cachedDataVersionTag().toString(16)}.code`);
}
