/**
 * What is measured of the simulator's speed, in the order of the print-out. Rates are of whole runs, from reset to the
 * guest's end: that is what people wait for. `steady` is what one more round costs, with the start taken off.
 */
import { TECHNIQUE_NAMES } from "../experiments/techniques.ts";
import { compileTimes } from "./compile-times.ts";
import { exitsOf, type GuestRun, runGuest } from "./guest.ts";
import { medianMilliseconds, peakMegabytes, suiteSeconds } from "./processes.ts";
import type { Measured } from "./record.ts";
import { sampleSeconds } from "./sampling.ts";
import { intervalOf } from "./statistics.ts";

export interface Measure {
  readonly name: string;
  /** Takes the measurement; null when there is nothing to measure here. */
  readonly take: () => readonly Measured[] | null;
}

/** Rounds of a run, of one under a monitor, and of a long and a short one, whose difference is nearly without the start. */
const ROUNDS = {
  compute: { native: 100, monitor: 100, long: 600, short: 10 },
  kstorm: { native: 100, monitor: 10, long: 800, short: 10 },
} as const;
type Workload = keyof typeof ROUNDS;

/** Guest instructions per second. */
function speed(workload: Workload, technique: string): Measure {
  const name = `${workload}, ${technique}`;
  const run: GuestRun = {
    workload,
    technique,
    commandLine: `scale=${ROUNDS[workload][technique === "native" ? "native" : "monitor"]}`,
  };
  return {
    name,
    take: () => {
      const { instructions } = runGuest(run).result;
      const seconds = sampleSeconds(name, () => runGuest(run), { least: 10, seconds: 6 });
      return [rate(name, "M instructions/s", seconds, instructions / 1e6)];
    },
  };
}

/** Of a native run, one more round: the time of the long run less that of a short one. */
function steadySpeed(workload: Workload): Measure {
  const name = `${workload}, native, steady`;
  const of = (scale: number): GuestRun => ({ workload, technique: "native", commandLine: `scale=${scale}` });
  const long = of(ROUNDS[workload].long);
  const short = of(ROUNDS[workload].short);
  return {
    name,
    take: () => {
      const instructions = runGuest(long).result.instructions - runGuest(short).result.instructions;
      const brief = sampleSeconds(`${name}: short`, () => runGuest(short), { least: 10, seconds: 2 });
      const { median } = intervalOf(brief);
      const whole = sampleSeconds(`${name}: long`, () => runGuest(long), { least: 10, seconds: 4 });
      const seconds = whole.map((each) => each - median).filter((each) => each > 0);
      return [rate(name, "M instructions/s", seconds, instructions / 1e6)];
    },
  };
}

/** Exits per second, of a guest that does nothing else. */
function exitSpeed(technique: string): Measure {
  const name = `exits, ${technique}`;
  const run: GuestRun = { workload: "in", technique, commandLine: "iterations=10000" };
  return {
    name,
    take: () => {
      const exits = exitsOf(runGuest(run).result);
      if (exits === 0) return null;
      const seconds = sampleSeconds(name, () => runGuest(run), { least: 10, seconds: 4 });
      return [rate(name, "k exits/s", seconds, exits / 1e3)];
    },
  };
}

/**
 * Units that the binary translator makes per second, in a guest of more code than fits a cache of 16 KB, all of it translated;
 * and how often the engine had to drop what it had compiled for that.
 */
function translationSpeed(): Measure {
  const name = "translations, bt";
  const run: GuestRun = {
    ...{ workload: "t-integer", technique: "bt", commandLine: "" },
    parameters: { cacheKb: 16, user: "translate" },
  };
  return {
    name,
    take: () => {
      const { result, engine } = runGuest(run);
      const { "bt.units": units = 0, "bt.instructions": instructions = 0 } = result.counters;
      if (units === 0) return null;
      const seconds = sampleSeconds(name, () => runGuest(run), { least: 2, seconds: 1 });
      return [
        rate(name, "k units/s", seconds, units / 1e3),
        rate(`${name}: instructions`, "k instructions/s", seconds, instructions / 1e3),
        told(`${name}: regions dropped`, "per unit", (engine["engine.regions.dropped"] ?? 0) / units),
      ];
    },
  };
}

/** What the engine made of a guest's code. */
function engineCounts(workload: string, commandLine: string): Measure {
  const name = `engine, ${workload}`;
  return {
    name,
    take: () => {
      const times = compileTimes();
      try {
        const { engine } = runGuest({ workload, technique: "native", commandLine });
        const counted = Object.entries(engine).map(([counter, value]) =>
          told(`${workload}: ${counter.replace(/^engine\./, "")}`, "", value),
        );
        return [...counted, told(`${workload}: WebAssembly compiled`, "ms", times.milliseconds, "less")];
      } finally {
        times.stop();
      }
    },
  };
}

/** The process's memory at its largest, less the guest's. */
function memory(workload: string, technique: string): Measure {
  const name = `memory, ${workload}, ${technique}`;
  return {
    name,
    take: () => [{ name, unit: "MB beside guest", better: "less", samples: [peakMegabytes(workload, technique)] }],
  };
}

/** Wall time of the default suite with one worker and with two, in turn. */
function suite(): Measure {
  return {
    name: "suite",
    take: () => {
      const runs = [1, 2].map(() => ({ one: suiteSeconds(1), two: suiteSeconds(2) }));
      const { points } = (runs[0] as (typeof runs)[number]).two;
      const two = runs.map((run) => run.two.seconds);
      return [
        { name: "suite, 2 workers", unit: "s", better: "less", samples: two },
        { name: "suite, 1 worker", unit: "s", better: "less", samples: runs.map((run) => run.one.seconds) },
        rate("suite, 2 workers", "points/s", two, points),
        {
          ...{ name: "suite, 2 workers against 1", unit: "times", better: "more" as const },
          samples: runs.map((run) => run.one.seconds / run.two.seconds),
        },
        { name: "suite, memory per worker", unit: "MB", better: "less", samples: runs.map((run) => run.two.workerMb) },
      ];
    },
  };
}

/** Wall time of a command. */
function command(name: string, args: readonly string[]): Measure {
  return { name, take: () => [{ name, unit: "ms", better: "less", samples: medianMilliseconds(args, 11) }] };
}

/** Everything, for all techniques that there are. */
export function measures(): readonly Measure[] {
  const monitors = TECHNIQUE_NAMES.filter((technique) => technique !== "native");
  return [
    command("ringlab --help", ["--help"]),
    command("ringlab boot in", ["boot", "in"]),
    steadySpeed("compute"),
    ...TECHNIQUE_NAMES.map((technique) => speed("compute", technique)),
    steadySpeed("kstorm"),
    ...TECHNIQUE_NAMES.map((technique) => speed("kstorm", technique)),
    ...monitors.map(exitSpeed),
    ...(monitors.includes("bt") ? [translationSpeed()] : []),
    engineCounts("compute", "scale=100"),
    engineCounts("kstorm", "scale=100"),
    engineCounts("kernel", ""),
    ...TECHNIQUE_NAMES.map((technique) => memory("compute", technique)),
    ...TECHNIQUE_NAMES.map((technique) => memory("kstorm", technique)),
    suite(),
  ];
}

function rate(name: string, unit: string, seconds: readonly number[], work: number): Measured {
  return { name, unit, better: "more", samples: seconds.map((each) => work / each) };
}

function told(name: string, unit: string, value: number, better?: "less"): Measured {
  return { name, unit, ...(better === undefined ? {} : { better }), samples: [value] };
}
