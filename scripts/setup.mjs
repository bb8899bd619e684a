// Set-up of a fresh clone, with nothing but Node: packages into node_modules/, compiled code into dist/.
//
// `npm start`, `npm test` and the `ringlab` launcher call it first. It is quiet when nothing is to be done (a few
// milliseconds), and two at a time wait for each other. It imports no package: there may be none yet.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const at = (...parts) => join(root, ...parts);

const sourceFolders = ["sim", "experiments", "cli", "bench", "types"];
const buildInputs = [
  "package-lock.json",
  "tsconfig.json",
  "scripts/bundle.mjs",
  "scripts/keep-code.mjs",
  "bin/load.js",
];
const packageStamp = at("node_modules", ".ringlab-packages");
const buildStamp = at("dist", ".ringlab-build");
const readyStamp = at(".cache", "ready");
const lockFile = at(".cache", "setup.lock");
const maxWaitMs = 10 * 60_000;

/** A failure that one line explains; the launcher prints the line and exits with `exitCode`. */
export class SetupError extends Error {
  exitCode = 70;
}

/** Brings node_modules/ and dist/ up to date. Throws SetupError with a message for the user. */
export function setup() {
  checkNodeVersion();
  if (isReady()) return;
  withLock(() => {
    if (readText(packageStamp) !== packageHash()) installPackages();
    const hash = sourceHash();
    if (readText(buildStamp) !== hash) build(hash);
  });
}

function isReady() {
  const looks = appearance();
  if (readText(readyStamp) === looks) return true;
  if (readText(packageStamp) !== packageHash() || readText(buildStamp) !== sourceHash()) return false;
  mkdirSync(dirname(readyStamp), { recursive: true });
  writeFileSync(readyStamp, looks);
  return true;
}

/** Of everything that isReady depends on: where it is, how long, and when it changed. Much quicker than reading it all. */
function appearance() {
  const paths = [packageStamp, buildStamp, ...buildInputs.map((path) => at(path)), ...sourceFiles()];
  return hashOf(
    paths.map((path) => {
      const { size, ctimeMs } = statSync(path, { throwIfNoEntry: false }) ?? { size: -1, ctimeMs: 0 };
      return `${process.platform}-${process.arch} ${process.versions.v8} ${path} ${size} ${ctimeMs}`;
    }),
  );
}

function checkNodeVersion() {
  const wanted = JSON.parse(readFileSync(at("package.json"), "utf8")).engines.node.replace(">=", "");
  const [wantedMajor, wantedMinor] = wanted.split(".").map(Number);
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return;
  throw new SetupError(`ringlab needs Node ${wanted} or newer; this is Node ${process.versions.node}`);
}

// --- packages ---

function packageHash() {
  // Some packages hold a binary for one platform: a tree carried to another machine is installed again.
  return hashOf([`${process.platform}-${process.arch}`, readFileSync(at("package-lock.json"))]);
}

function installPackages() {
  say("installing packages (once; takes about half a minute)");
  // npm tells its scripts where it is; otherwise take the one on the path.
  const npm = process.env.npm_execpath;
  const args = ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"];
  const result =
    npm !== undefined && /npm-cli\.[cm]?js$/.test(npm)
      ? spawnSync(process.execPath, [npm, ...args], { cwd: root, stdio: ["ignore", "ignore", "pipe"] })
      : spawnSync("npm", args, {
          cwd: root,
          stdio: ["ignore", "ignore", "pipe"],
          shell: process.platform === "win32",
        });
  if (result.error) throw new SetupError(`npm could not be started (${result.error.message}); is it installed?`);
  if (result.status !== 0) throw new SetupError(`npm ci failed:\n${firstLines(result.stderr, 20)}`);
  writeFileSync(packageStamp, packageHash());
}

// --- compiled code ---

function sourceHash() {
  // Another V8 does not take the code that is kept (bin/load.js).
  const parts = [process.versions.v8, ...buildInputs.map((path) => readFileSync(at(path)))];
  for (const path of sourceFiles()) parts.push(relative(root, path), readFileSync(path));
  return hashOf(parts);
}

function sourceFiles() {
  const files = sourceFolders.flatMap((folder) => filesBelow(at(folder)));
  return files.filter((path) => /\.(ts|json)$/.test(path));
}

function build(hash) {
  say("compiling");
  // Into a folder beside dist/ (source maps are relative to it), then file by file: a run that is using dist/ never
  // sees half a file, and files that did not change stay as they are.
  const fresh = at(`.tmp-build-${process.pid}`);
  try {
    const tsc = at("node_modules", "typescript", "bin", "tsc");
    node([tsc, "-p", at("tsconfig.json"), "--outDir", fresh]);
    if (!existsSync(fresh)) throw new SetupError(`compiling wrote nothing: is there no source in ${sourceFolders}?`);
    node([at("scripts", "bundle.mjs"), fresh]);
    replaceTree(fresh, at("dist"));
    keepCode();
    writeFileSync(buildStamp, hash);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/** What a quick start has and nothing needs. */
function keepCode() {
  try {
    node([at("scripts", "keep-code.mjs"), at("dist")]);
  } catch (error) {
    say(`commands will take longer to start: ${error.message}`);
  }
}

function node(args) {
  const result = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8" });
  if (result.error) throw new SetupError(`the compiler could not be started: ${result.error.message}`);
  if (result.status !== 0) throw new SetupError(`compiling failed:\n${result.stdout}${result.stderr}`);
}

/** Makes `target` hold exactly the files of `fresh`, moving over only those that differ. */
function replaceTree(fresh, target) {
  const names = filesBelow(fresh).map((path) => relative(fresh, path));
  for (const name of names) {
    const from = join(fresh, name);
    const to = join(target, name);
    if (existsSync(to) && readFileSync(from).equals(readFileSync(to))) continue;
    mkdirSync(dirname(to), { recursive: true });
    renameSync(from, to);
  }
  const kept = new Set(names);
  for (const path of filesBelow(target)) {
    if (!kept.has(relative(target, path))) rmSync(path);
  }
}

// --- one at a time ---

function withLock(action) {
  mkdirSync(dirname(lockFile), { recursive: true });
  const deadline = Date.now() + maxWaitMs;
  for (let told = false; !tryLock(); told = true) {
    if (!told) say("waiting for another set-up of this folder");
    if (Date.now() > deadline) throw new SetupError(`waited too long; if no set-up is running, delete ${lockFile}`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  }
  try {
    action();
  } finally {
    rmSync(lockFile, { force: true });
  }
}

function tryLock() {
  try {
    const file = openSync(lockFile, "wx");
    writeFileSync(file, String(process.pid));
    closeSync(file);
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    removeAbandonedLock();
    return false;
  }
}

/** A set-up that was killed leaves its lock; the process number in it says whether its owner lives. */
function removeAbandonedLock() {
  const owner = Number(readText(lockFile));
  if (owner > 0 ? isAlive(owner) : ageMs(lockFile) < 10_000) return;
  // Another waiter may have removed it and locked in the meantime: look at what was moved away, and put it back.
  const aside = `${lockFile}.${process.pid}`;
  try {
    renameSync(lockFile, aside);
  } catch {
    return;
  }
  if (Number(readText(aside)) !== owner && !existsSync(lockFile)) renameSync(aside, lockFile);
  else rmSync(aside, { force: true });
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

// --- small things ---

function ageMs(path) {
  try {
    return Date.now() - statSync(path).mtimeMs;
  } catch {
    return 0;
  }
}

function readText(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** All files below a folder in a fixed order; none if it does not exist. */
function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

function firstLines(output, count) {
  return String(output).split("\n").slice(0, count).join("\n");
}

function hashOf(parts) {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(String(part.length)).update(":").update(part);
  return hash.digest("hex");
}

function say(line) {
  process.stderr.write(`ringlab: ${line}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    setup();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message.trimEnd());
    process.exitCode = error.exitCode;
  }
}
