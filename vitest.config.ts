import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

const root = import.meta.dirname;

/**
 * Vitest's module runner turns every imported constant into a property look-up, with which the interpreter is twenty
 * times slower. So tests run the compiled simulator, which is brought up to date first; where it does not compile, or
 * coverage is wanted (RINGLAB_TEST_SOURCES=1), the sources.
 */
function compiledSimulator(): boolean {
  if (process.env.RINGLAB_TEST_SOURCES === "1") return false;
  return spawnSync(process.execPath, [join(root, "scripts", "setup.mjs")], { stdio: "ignore" }).status === 0;
}

const compiled = compiledSimulator()
  ? [{ find: /^.*\/sim\/(.*)\.ts$/, replacement: join(root, "dist", "sim", "$1.js") }]
  : [];

export default defineConfig({
  resolve: { alias: compiled },
  test: {
    include: ["test/**/*.test.ts"],
    server: { deps: { external: [/\/dist\/sim\//] } },
    // Threads without isolation start eight times faster; no module of ringlab keeps state, so tests may share them.
    pool: "threads",
    isolate: false,
    // Vitest leaves a core free, which is half of a small machine.
    maxWorkers: availableParallelism(),
    // A machine may be slow, or busy with something else.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    coverage: {
      provider: "v8",
      include: ["sim/**/*.ts", "experiments/**/*.ts", "cli/**/*.ts"],
      reporter: ["text-summary", "html"],
    },
  },
});
