// A vitest reporter that writes how many tests passed, failed and were skipped to the file named by RINGLAB_TEST_TOTALS.
// What fails outside a test (a file that does not load, a stray rejection) counts as one failure.

import { writeFileSync } from "node:fs";

export default class TotalsReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const totals = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === "passed") totals.passed++;
        else if (state === "failed") totals.failed++;
        else totals.skipped++;
      }
      totals.failed += module.errors().length;
      for (const suite of module.children.allSuites()) totals.failed += suite.errors().length;
    }
    writeFileSync(process.env.RINGLAB_TEST_TOTALS, JSON.stringify(totals));
  }
}
