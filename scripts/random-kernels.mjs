// Random kernels (test/machine/random-kernel.test.ts) of other seeds: node scripts/random-kernels.mjs FIRST COUNT
import { startVitest } from "vitest/node";

const [first, count] = process.argv.slice(2).map(Number);
if (!(first > 0 && count > 0)) {
  console.error("usage: node scripts/random-kernels.mjs FIRST COUNT");
  process.exit(2);
}
await startVitest("test", ["test/machine/random-kernel.test.ts"], {
  provide: { kernels: { first, count } },
  watch: false,
});
