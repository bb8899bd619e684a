// The compiled command line in a process of its own, with real worker threads and signals but a worker of the tests:
//   node launcher.mjs DIST WORKER RUNS arguments...
// cli/main.ts is the same with the real worker and folder; this one lets a test choose them.

import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [dist, worker, runs, ...argv] = process.argv.slice(2);
const { ringlab } = await import(pathToFileURL(join(dist, "cli", "ringlab.js")).href);
const { hostEnvironment } = await import(pathToFileURL(join(dist, "cli", "host.js")).href);
const { workerPool } = await import(pathToFileURL(join(dist, "experiments", "pool.js")).href);

process.exitCode = await ringlab(argv, {
  ...hostEnvironment(),
  runs,
  executor: async (workers) => workerPool(workers ?? 2, worker),
  code: async () => "code",
});
