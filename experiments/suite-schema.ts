/** The shape of a suite file (experiments/suites/README.md). */
import { z } from "zod";

export const FIGURE_NAMES = ["nanobenchmarks", "accounts", "faults-eliminated", "translation-statistics"] as const;
/** What is drawn when a suite does not say. */
const USUAL_FIGURES: readonly FigureName[] = ["nanobenchmarks", "accounts"];
export type FigureName = (typeof FIGURE_NAMES)[number];

/** Values of command-line parameters; a list is swept. */
const parameterValue = z.union([z.int().nonnegative(), z.string().regex(/^\S+$/, "no blanks")]);
const parameters = z.record(
  z.string().regex(/^[A-Za-z][A-Za-z0-9_-]*$/, "a parameter's name is a word"),
  z.union([parameterValue, z.array(parameterValue).min(1)]),
);

const technique = z.strictObject({
  technique: z.string(),
  memory: z.string().optional(),
  /** The technique's own, by name (sim/techniques/bt/parameters.ts). */
  parameters: z.record(z.string(), z.union([z.boolean(), z.number(), z.string()])).optional(),
});

const repetitions = z.int().min(1).max(1000);

const workload = z.union([
  z.string(),
  z.strictObject({
    workload: z.string(),
    parameters: parameters.optional(),
    /** Physical address of a flat image. */
    loadAddress: z.int().nonnegative().optional(),
    /** In the place of the suite's. */
    repetitions: repetitions.optional(),
    /** By technique: why the guest does not survive it. That it fails is its result there. */
    fails: z.record(z.string(), z.string()).optional(),
  }),
]);

/** A row of the guest's own output, `row: NAME: TEXT`, which is compared across techniques (rows.ts). */
const row = z.strictObject({
  row: z
    .string()
    .regex(/^[^\s:]+$/, "a row's name has no blanks and no colon: the guest prints it as `row: NAME: TEXT`"),
  instruction: z.string(),
  /** CPL at which the guest executes it. */
  cpl: z.union([z.literal(0), z.literal(3)]).optional(),
  scenario: z.string(),
  /** Rows of results/published that the row is about. */
  cells: z.array(z.string()).optional(),
  /** By technique: why the row does not differ where one might expect it to. */
  same: z.record(z.string(), z.string()).optional(),
  /** By technique: why it does. */
  differs: z.record(z.string(), z.string()).optional(),
});
export type SuiteRow = z.infer<typeof row>;

export const suiteSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "a name is of letters, digits, dots and dashes: it names a folder"),
  title: z.string().optional(),
  description: z.string().optional(),
  profiles: z.array(z.string()).min(1),
  techniques: z.array(technique).min(1),
  workloads: z.array(workload).min(1),
  /** Command-line parameters of every workload. */
  parameters: parameters.optional(),
  repetitions: repetitions.default(1),
  seed: z.int().min(0).max(0xffffffff).default(1),
  /** MB of guest memory. */
  guestMemory: z.int().min(1).max(3072).default(64),
  /** Cycles after which a run is given up. */
  maxCycles: z
    .number()
    .min(1)
    .max(2 ** 49)
    .default(4_000_000_000),
  /** Samples of the technique's counters over the time of each run, at most. */
  samples: z.int().min(4).max(1000).multipleOf(2).optional(),
  figures: z.array(z.enum(FIGURE_NAMES)).default([...USUAL_FIGURES]),
  /** What the guests print, to be compared; the table has these in the place of cycles. */
  rows: z.array(row).min(1).optional(),
  /** Said below the table. */
  notes: z.array(z.string()).optional(),
});

export type SuiteFile = z.infer<typeof suiteSchema>;
export type Parameters = z.infer<typeof parameters>;
