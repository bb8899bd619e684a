/**
 * Speed of the simulator on this host, never of anything simulated: guest instructions per second on `compute`, natively
 * and under VT-x, and VM exits per second on `in`. Runs the compiled code in dist/. `npm run bench`
 */
import Benchmark from "benchmark";
import { medianSorted } from "simple-statistics";
import { readImage } from "../dist/experiments/images.js";
import { simulate } from "../dist/experiments/simulate.js";
import { profileNamed } from "../dist/sim/cpu/profiles/catalogue.js";

const images = new URL("../workloads/images/", import.meta.url).pathname;
const MEMORY_MODEL = { native: "direct", vtx: "shadow" };

function run(name, technique, commandLine) {
  return simulate({
    image: readImage(`${images}${name}.elf`),
    commandLine,
    profile: profileNamed("pentium4-672"),
    technique,
    memoryModel: MEMORY_MODEL[technique],
    guestMemoryBytes: 16 * 2 ** 20,
    maxCycles: 1e12,
    seed: 1,
    timerPhase: 0,
  });
}

const instructions = (result) => result.instructions;
const exits = (result) => result.exits.reduce((sum, row) => sum + row.count, 0);
const measurements = [
  {
    name: "compute, native",
    unit: "M instructions/s",
    scale: 1e6,
    count: instructions,
    of: ["compute", "native", "scale=1"],
  },
  {
    name: "compute, vtx",
    unit: "M instructions/s",
    scale: 1e6,
    count: instructions,
    of: ["compute", "vtx", "scale=1"],
  },
  { name: "in, vtx", unit: "k exits/s", scale: 1e3, count: exits, of: ["in", "vtx", "iterations=2000"] },
];

const suite = new Benchmark.Suite();
for (const { name, unit, scale, count, of } of measurements) {
  const work = count(run(...of));
  suite.add(name, () => run(...of), {
    minSamples: 30,
    onComplete: ({ target }) => {
      const samples = [...target.stats.sample].sort((a, b) => a - b);
      const rate = (seconds) => (work / seconds / scale).toFixed(1);
      const [fastest, slowest] = [samples[0], samples[samples.length - 1]];
      console.log(
        `${name.padEnd(16)} ${rate(medianSorted(samples)).padStart(7)} ${unit}` +
          `  (median of ${samples.length}; ${rate(slowest)} to ${rate(fastest)})`,
      );
    },
    onError: ({ target }) => {
      console.error(`${name}: ${target.error}`);
      process.exitCode = 1;
    },
  });
}
suite.run();
