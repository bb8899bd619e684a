import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Threads without isolation start eight times faster; no module of ringlab keeps state, so tests may share them.
    pool: "threads",
    isolate: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    coverage: {
      provider: "v8",
      include: ["sim/**/*.ts", "experiments/**/*.ts", "cli/**/*.ts"],
      reporter: ["text-summary", "html"],
    },
  },
});
