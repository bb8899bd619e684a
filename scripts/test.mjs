// `npm test`: set-up, then the tests, then one last line `N passed, N failed[, N skipped]`.
// Arguments go to vitest: `npm test -- test/clock.test.ts`.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SetupError, setup } from "./setup.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const resultFile = join(root, ".cache", `tests-${process.pid}.json`);

function main() {
  const broken = setUp();
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  if (!existsSync(vitest)) {
    finish({ passed: 0, failed: 1, skipped: 0 }, 1);
    return;
  }
  mkdirSync(dirname(resultFile), { recursive: true });
  const reporters = ["--reporter=default", `--reporter=${join(root, "scripts", "totals-reporter.mjs")}`];
  const { status } = spawnSync(process.execPath, [vitest, "run", ...reporters, ...process.argv.slice(2)], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, RINGLAB_TEST_TOTALS: resultFile },
  });
  const totals = count(status);
  if (broken) totals.failed++;
  finish(totals, broken ? 1 : (status ?? 1));
}

/** Returns whether set-up failed. Tests read the sources, so most can run, and tell more, when compiling failed. */
function setUp() {
  try {
    setup();
    return false;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`ringlab: ${error.message.trimEnd()}\n`);
    return true;
  }
}

/** Totals as the reporter left them; a run that failed without a failed test (vitest itself broke) counts as one. */
function count(status) {
  let totals = { passed: 0, failed: 0, skipped: 0 };
  try {
    totals = JSON.parse(readFileSync(resultFile, "utf8"));
  } catch {
    // vitest did not get as far as reporting: its exit status says it all.
  }
  rmSync(resultFile, { force: true });
  if (status !== 0 && totals.failed === 0) totals.failed = 1;
  return totals;
}

function finish({ passed, failed, skipped }, exitCode) {
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  process.exitCode = exitCode;
}

main();
