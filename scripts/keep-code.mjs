// `node scripts/keep-code.mjs FOLDER`: runs usual commands with the files in FOLDER/start, and keeps what V8 compiled for that
// beside them (bin/load.js). What a command does not use is compiled when it is needed.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { cachedDataVersionTag, setFlagsFromString } from "node:v8";
import { keepCode, load } from "../bin/load.js";

const folder = resolve(process.argv[2]);
const runs = mkdtempSync(join(tmpdir(), "ringlab-set-up-"));

const COMMANDS = [
  ["--help"],
  ["list"],
  ["boot", "in"],
  ["explain", "in", "-t", "vtx"],
  // one of two techniques, in two figures
  ["run", "in", "--no-cache", "--out", join(runs, "in")],
  ["table", join(runs, "in")],
];

/** What experiments/branch-hints.ts asks of V8 when a simulator is loaded: files come before and after that. */
const HINTS = "experimental-wasm-branch-hinting";

const asStarted = cachedDataVersionTag();
// V8 gives up code that has not been used for a while.
setFlagsFromString("--no-flush-bytecode");
const { ringlab, hostEnvironment } = load(join(folder, "start", "main.cjs"));
const { work } = load(join(folder, "start", "worker.cjs"));
const memory = new Int32Array(new SharedArrayBuffer(4));
/** What the commands report; shown when one fails. */
let reported = "";
const err = (text) => {
  reported += text;
};
const environment = {
  ...hostEnvironment(),
  ...{ out() {}, err, isTerminal: false, runs },
  executor: async () => ({ width: 1, run: async (task) => work({ task, memory }), close: async () => {} }),
};
try {
  for (const command of COMMANDS) {
    const status = await ringlab(command, environment);
    if (status !== 0) throw new Error(`ringlab ${command.join(" ")}: status ${status}\n${reported}`);
  }
} finally {
  rmSync(runs, { recursive: true, force: true });
}
setFlagsFromString("--flush-bytecode");
keepCode();
if (cachedDataVersionTag() !== asStarted) {
  setFlagsFromString(`--no-${HINTS}`);
  keepCode();
}
if (cachedDataVersionTag() !== asStarted) throw new Error("V8 has other flags than at the start: which?");
