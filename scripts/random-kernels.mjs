// Random kernels (test/machine/random-kernel.test.ts) of other seeds, or under other techniques than usual:
//   node scripts/random-kernels.mjs [-t TECHNIQUE]... FIRST COUNT
import { parseArgs } from "node:util";
import { startVitest } from "vitest/node";

const { values, positionals } = parseArgs({
  options: { technique: { type: "string", short: "t", multiple: true } },
  allowPositionals: true,
});
const [first, count] = positionals.map(Number);
if (!(first > 0 && count > 0)) {
  console.error("usage: node scripts/random-kernels.mjs [-t TECHNIQUE]... FIRST COUNT");
  process.exit(2);
}
const techniques = values.technique;
await startVitest("test", ["test/machine/random-kernel.test.ts"], {
  provide: { kernels: { first, count, ...(techniques === undefined ? {} : { techniques }) } },
  watch: false,
});
