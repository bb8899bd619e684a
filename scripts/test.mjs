// `npm test`: set-up, then the tests, then one last line `N passed, N failed[, N skipped]`.
// Arguments go to vitest: `npm test -- test/clock.test.ts`.

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SetupError, setup } from "./setup.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const resultFile = join(root, ".cache", `tests-${process.pid}.json`);

function main() {
  try {
    setup();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`ringlab: ${error.message.trimEnd()}\n`);
    finish({ passed: 0, failed: 1, skipped: 0 }, error.exitCode);
    return;
  }
  mkdirSync(dirname(resultFile), { recursive: true });
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${resultFile}`];
  const { status } = spawnSync(process.execPath, [vitest, "run", ...reporters, ...process.argv.slice(2)], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  finish(count(status), status ?? 1);
}

/** Totals of the run. What fails outside a test (a file that does not load, a stray rejection) counts as a failure. */
function count(status) {
  const totals = { passed: 0, failed: 0, skipped: 0 };
  try {
    const result = JSON.parse(readFileSync(resultFile, "utf8"));
    totals.passed = result.numPassedTests;
    totals.failed = result.numFailedTests;
    totals.skipped = result.numPendingTests + result.numTodoTests;
    totals.failed += result.testResults.filter(
      (file) => file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed"),
    ).length;
  } catch {
    // vitest did not get as far as writing its results: its exit status says it all.
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
