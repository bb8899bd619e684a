/**
 * `npm run bench`: how fast the simulator is on this host; never anything about simulated time. Prints each quantity beside
 * that of the run before, and keeps all samples (record.ts).
 *
 *   --only TEXT     measures whose name has it; such a run is not kept
 *   --reference     keeps the run as results/bench/bench.json, for others to compare with
 */
import { parseArgs } from "node:util";
import { shown } from "../experiments/paths.ts";
import { measures } from "./measures.ts";
import { type Measured, newRecord, previousRecord, saveRecord } from "./record.ts";
import { cautions, HEADING, machineLine, measuredLine } from "./report.ts";

const { values } = parseArgs({
  options: { only: { type: "string" }, reference: { type: "boolean", default: false } },
});

const facts = newRecord();
const previous = previousRecord("bench");
console.log(`${facts.code} on ${machineLine(facts.machine)}`);
for (const caution of cautions(facts, previous)) console.log(`(${caution})`);
console.log(`\n${HEADING}`);

const begin = performance.now();
const measured: Measured[] = [];
const failures: string[] = [];
for (const { name, take } of measures()) {
  if (values.only !== undefined && !name.includes(values.only)) continue;
  try {
    for (const each of take() ?? []) {
      measured.push(each);
      const before = previous?.record.measured.find((one) => one.name === each.name && one.unit === each.unit);
      console.log(measuredLine(each, before));
    }
  } catch (error) {
    failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

console.log(`\n${((performance.now() - begin) / 1e3).toFixed(0)} s`);
if (values.only === undefined && failures.length === 0) {
  console.log(`kept in ${shown(saveRecord({ ...facts, measured }, "bench", values.reference))}`);
}
for (const failure of failures) console.error(`failed: ${failure}`);
if (failures.length > 0) process.exitCode = 1;
