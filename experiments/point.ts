/**
 * Points: a suite expanded, in a fixed order (profile, technique, workload, parameters, repetition). A point says
 * everything that its run depends on; its address is a hash of that, of the values of the profile, the bytes of the
 * image and the simulator's code, so that nothing stale is ever read.
 */
import { createHash } from "node:crypto";
import { TICKS_PER_CYCLE } from "../sim/clock.ts";
import { profileNamed, withOverrides } from "../sim/cpu/profiles/catalogue.ts";
import type { Profile } from "../sim/cpu/profiles/profile.ts";
import { checkFits, type ImageKind } from "./images.ts";
import { asProblem, Problem } from "./problem.ts";
import type { Suite } from "./suite.ts";
import type { Parameters } from "./suite-schema.ts";
import { combinationLabel } from "./techniques.ts";
import { loadWorkload, type Workload } from "./workloads.ts";

export type Overrides = Readonly<Record<string, number>>;

/** One `--set`: a value of every profile of the run, or of one. */
export interface Setting {
  readonly profile?: string;
  readonly name: string;
  readonly value: number;
}

/** What names a point in tables and CSV. */
export interface PointKey {
  readonly profile: string;
  readonly technique: string;
  readonly memory: string;
  /** Parameters of the technique that are not the usual ones: `chaining=false unitSize=4`. */
  readonly variant: string;
  readonly workload: string;
  /** The command line: `scale=1`. */
  readonly parameters: string;
  readonly repetition: number;
  /** `--set` values in force: `vmread=100 monitorCpi=3`; empty in an unmodified run. */
  readonly overrides: string;
}

/** Everything that a run depends on but code: plain data, it crosses to a worker. */
export interface Point extends PointKey {
  readonly values: Overrides;
  readonly imagePath: string;
  readonly imageKind: ImageKind;
  readonly imageHash: string;
  readonly loadAddress?: number;
  readonly guestMemoryMb: number;
  readonly maxCycles: number;
  readonly seed: number;
  readonly timerPhase: number;
  readonly explainRegion?: number;
  readonly samples?: number;
  /** Why the guest does not survive this: then that it fails is no problem. */
  readonly fails?: string;
}

/** What an expansion may add to the suite. */
export interface Expansion {
  readonly settings?: readonly Setting[];
  readonly explainRegion?: number;
}

/** All points of a suite, in their fixed order. Reads each image once. Throws a Problem. */
export function expand(suite: Suite, { settings = [], explainRegion }: Expansion = {}): readonly Point[] {
  const profiles = suite.profiles.map((name) => {
    const overrides = overridesFor(settings, name);
    return { profile: overridden(name, overrides), overrides };
  });
  const images = suite.workloads.map(({ workload, loadAddress }) =>
    describeImage(workload, loadAddress, suite.guestMemoryMb),
  );
  const points: Point[] = [];
  for (const { profile, overrides } of profiles) {
    for (const { technique, memory, variant = "" } of suite.techniques) {
      suite.workloads.forEach(({ workload, parameters, repetitions = suite.repetitions, fails = {} }, index) => {
        const why = fails[technique];
        for (const commandLine of commandLines(parameters)) {
          for (let repetition = 0; repetition < repetitions; repetition++) {
            points.push({
              ...{
                profile: profile.name,
                technique,
                memory,
                variant,
                workload: workload.name,
                parameters: commandLine,
                repetition,
              },
              ...{ overrides: overridesText(overrides), values: overrides },
              ...(images[index] as ReturnType<typeof describeImage>),
              ...{ guestMemoryMb: suite.guestMemoryMb, maxCycles: suite.maxCycles },
              ...variation(suite.seed, repetition, profile),
              ...(explainRegion === undefined ? {} : { explainRegion }),
              ...(suite.samples === undefined ? {} : { samples: suite.samples }),
              ...(why === undefined ? {} : { fails: why }),
            });
          }
        }
      });
    }
  }
  return points;
}

/** The profile of a point, overrides applied. */
export function profileOf(point: Point): Profile {
  return overridden(point.profile, point.values);
}

function overridden(name: string, overrides: Overrides): Profile {
  try {
    return withOverrides(profileNamed(name), overrides);
  } catch (error) {
    throw asProblem(error, "bad-override");
  }
}

/** The settings that apply to a profile, as overrides; of two of the same value the later counts. */
function overridesFor(settings: readonly Setting[], profile: string): Overrides {
  const applying = settings.filter((setting) => setting.profile === undefined || setting.profile === profile);
  return Object.fromEntries(applying.map(({ name, value }) => [name, value]));
}

function overridesText(overrides: Overrides): string {
  return Object.entries(overrides)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
}

function describeImage(workload: Workload, loadAddress: number | undefined, guestMemoryMb: number) {
  const image = loadWorkload(workload, loadAddress);
  checkFits(image, workload.name, guestMemoryMb * 2 ** 20);
  if (workload.memoryMb > guestMemoryMb) {
    throw new Problem(
      "image-too-large",
      `${workload.name}: needs a guest of ${workload.memoryMb} MB, this one has ${guestMemoryMb} MB (--memory; guestMemory in a suite)`,
    );
  }
  return {
    imagePath: workload.path,
    imageKind: image.kind,
    imageHash: createHash("sha256").update(image.bytes).digest("hex"),
    ...(loadAddress === undefined ? {} : { loadAddress }),
  };
}

/** Every combination of the swept parameters, the first name changing slowest. */
export function commandLines(parameters: Parameters): readonly string[] {
  let lines = [""];
  for (const [name, values] of Object.entries(parameters)) {
    const words = (Array.isArray(values) ? values : [values]).map((value) => `${name}=${value}`);
    lines = lines.flatMap((line) => words.map((word) => (line === "" ? word : `${line} ${word}`)));
  }
  return lines;
}

/** What differs between repetitions: the seed of random replacement and the phase of the timer's crystal. */
function variation(suiteSeed: number, repetition: number, profile: Profile): { seed: number; timerPhase: number } {
  const hash = createHash("sha256").update(`${suiteSeed}/${repetition}`).digest();
  const ticksPerSecond = profile.frequencyMHz * 1_000_000 * TICKS_PER_CYCLE;
  // The crystal runs at 105/88 MHz: a period is 88/105 microseconds.
  const period = Math.floor((ticksPerSecond * 88) / 105_000_000);
  return { seed: hash.readUInt32LE(0), timerPhase: Math.floor((hash.readUInt32LE(4) / 2 ** 32) * period) };
}

/** The content address of a point, as hex. `code` is the fingerprint of the simulator. */
export function addressOf(point: Point, code: string): string {
  const { imagePath: _, fails: __, ...facts } = point;
  const content = { format: 1, point: facts, profile: profileOf(point), code };
  return createHash("sha256").update(canonicalJson(content)).digest("hex");
}

/** JSON with sorted keys, so that equal values have equal text. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value)
    .filter(([, each]) => each !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, each]) => `${JSON.stringify(key)}:${canonicalJson(each)}`);
  return `{${entries.join(",")}}`;
}

/** How messages name a point: `in scale=1, pentium4-672, vtx+shadow, repetition 2`. */
export function pointLabel(key: PointKey): string {
  return `${singleLabel(key)}, repetition ${key.repetition + 1}`;
}

/** How messages name a point that is run once. */
export function singleLabel({ workload, parameters, profile, ...combination }: PointKey): string {
  const guest = parameters === "" ? workload : `${workload} ${parameters}`;
  return `${guest}, ${profile}, ${combinationLabel(combination)}`;
}
