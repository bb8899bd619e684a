/** The shape of a suite file (experiments/suites/README.md). */
import { z } from "zod";

export const FIGURE_NAMES = ["nanobenchmarks", "accounts"] as const;
export type FigureName = (typeof FIGURE_NAMES)[number];

/** Values of command-line parameters; a list is swept. */
const parameterValue = z.union([z.int().nonnegative(), z.string().regex(/^\S+$/, "no blanks")]);
const parameters = z.record(
  z.string().regex(/^[A-Za-z][A-Za-z0-9_-]*$/, "a parameter's name is a word"),
  z.union([parameterValue, z.array(parameterValue).min(1)]),
);

const technique = z.strictObject({ technique: z.string(), memory: z.string().optional() });

const workload = z.union([
  z.string(),
  z.strictObject({
    workload: z.string(),
    parameters: parameters.optional(),
    /** Physical address of a flat image. */
    loadAddress: z.int().nonnegative().optional(),
  }),
]);

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
  repetitions: z.int().min(1).max(1000).default(1),
  seed: z.int().min(0).max(0xffffffff).default(1),
  /** MB of guest memory. */
  guestMemory: z.int().min(1).max(3072).default(64),
  /** Cycles after which a run is given up. */
  maxCycles: z
    .number()
    .min(1)
    .max(2 ** 49)
    .default(4_000_000_000),
  figures: z.array(z.enum(FIGURE_NAMES)).default([...FIGURE_NAMES]),
});

export type SuiteFile = z.infer<typeof suiteSchema>;
export type Parameters = z.infer<typeof parameters>;
