/**
 * Suites: YAML read, checked and turned into what the runner needs. Whatever is wrong with one is said as
 * `file:line:column: what`, with a suggestion where there is one.
 */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type Document, isMap, isNode, isScalar, LineCounter, type Node, parseDocument } from "yaml";
import type { z } from "zod";
import { profileNamed } from "../sim/cpu/profiles/catalogue.ts";
import { shown } from "./paths.ts";
import { asProblem, Problem, type ProblemKind } from "./problem.ts";
import { nearest } from "./suggest.ts";
import { type FigureName, type Parameters, type SuiteFile, type SuiteRow, suiteSchema } from "./suite-schema.ts";
import { checkParameter } from "./technique-parameters.ts";
import { type Combination, checkProcessor, checkProfile, combination, techniqueNamed } from "./techniques.ts";
import { findWorkload, type Workload } from "./workloads.ts";

export interface SuiteWorkload {
  readonly workload: Workload;
  readonly parameters: Parameters;
  readonly loadAddress?: number;
  /** In the place of the suite's. */
  readonly repetitions?: number;
  /** By technique: why the guest does not survive it. */
  readonly fails?: Readonly<Record<string, string>>;
}

export interface Suite {
  readonly name: string;
  readonly title: string;
  readonly profiles: readonly string[];
  readonly techniques: readonly Combination[];
  readonly workloads: readonly SuiteWorkload[];
  readonly repetitions: number;
  readonly seed: number;
  readonly guestMemoryMb: number;
  readonly maxCycles: number;
  readonly figures: readonly FigureName[];
  /** Samples of counters to keep of each run. */
  readonly samples?: number;
  /** Rows of the guests' output that are compared; absent in a suite about cycles. */
  readonly rows?: readonly SuiteRow[];
  readonly notes?: readonly string[];
}

type Path = readonly (string | number)[];

/** Reads a suite file. Throws a Problem. */
export function readSuite(path: string): Suite {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new Problem("bad-suite", `${shown(path)}: cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  return parseSuite(text, shown(path), dirname(resolve(path)));
}

/** Reads a suite's text; `file` is for messages, `base` is the folder that image paths are relative to. */
export function parseSuite(text: string, file: string, base: string): Suite {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const at = (path: Path, key?: string) => place(offsetOf(document, path, key));
  const broken = document.errors[0] ?? document.warnings[0];
  if (broken !== undefined) throw new Problem("bad-suite", `${place(broken.pos[0])}: ${broken.message.split("\n")[0]}`);

  const parsed = suiteSchema.safeParse(document.toJS());
  if (!parsed.success) {
    // A misspelt key is also a missing one: the misspelling says more.
    const issues = parsed.error.issues.map(deepest);
    const first = issues.find((issue) => issue.code === "unrecognized_keys") ?? (issues[0] as z.core.$ZodIssue);
    throw new Problem("bad-suite", describe(first, at));
  }
  return resolveNames(parsed.data, at, base);
}

/** Looks up every name of the suite; what is wrong is said with its place. */
function resolveNames(suite: SuiteFile, at: (path: Path) => string, base: string): Suite {
  const placed = <T>(path: Path, kind: ProblemKind, look: () => T): T => {
    try {
      return look();
    } catch (error) {
      const problem = asProblem(error, kind);
      throw new Problem(problem.kind, `${at(path)}: ${problem.message}`);
    }
  };
  suite.profiles.forEach((name, index) => {
    placed(["profiles", index], "unknown-profile", () => checkProfile(name));
  });
  const techniques = suite.techniques.map(({ technique, memory, parameters = {} }, index) => {
    const path = ["techniques", index];
    const info = placed(path, "unknown-technique", () => techniqueNamed(technique));
    for (const [name, value] of Object.entries(parameters)) {
      placed([...path, "parameters", name], "bad-parameter", () => checkParameter(info, name, value));
    }
    return placed(path, "unknown-technique", () => {
      const chosen = combination(technique, memory, parameters);
      for (const name of suite.profiles) checkProcessor(profileNamed(name), chosen);
      return chosen;
    });
  });
  suite.workloads.forEach((each, index) => {
    const { fails = {} } = typeof each === "string" ? {} : each;
    for (const name of Object.keys(fails)) {
      placed(["workloads", index, "fails", name], "unknown-technique", () => techniqueNamed(name));
    }
  });
  const workloads = suite.workloads.map((each, index) =>
    placed(["workloads", index], "unknown-workload", () => {
      const entry: Exclude<SuiteFile["workloads"][number], string> =
        typeof each === "string" ? { workload: each } : each;
      const workload = findWorkload(entry.workload, base);
      const parameters = { ...suite.parameters, ...entry.parameters };
      const { loadAddress, repetitions, fails } = entry;
      return {
        ...{ workload, parameters },
        ...(loadAddress === undefined ? {} : { loadAddress }),
        ...(repetitions === undefined ? {} : { repetitions }),
        ...(fails === undefined ? {} : { fails }),
      };
    }),
  );
  checkUnique(suite, techniques, at);
  const { name, title, profiles, repetitions, seed, guestMemory, maxCycles, figures, samples, rows, notes } = suite;
  return {
    ...{ name, title: title ?? name, profiles, techniques, workloads, repetitions, seed },
    ...{ guestMemoryMb: guestMemory, maxCycles, figures },
    ...(samples === undefined ? {} : { samples }),
    ...(rows === undefined ? {} : { rows }),
    ...(notes === undefined ? {} : { notes }),
  };
}

/** The same point twice would be one point counted as two. */
function checkUnique(suite: SuiteFile, techniques: readonly Combination[], at: (path: Path) => string): void {
  const lists: [string, readonly unknown[]][] = [
    ["profiles", suite.profiles],
    ["techniques", techniques],
    ["workloads", suite.workloads],
    ["rows", (suite.rows ?? []).map((each) => each.row)],
  ];
  for (const [key, entries] of lists) {
    const seen = new Set<string>();
    entries.forEach((entry, index) => {
      const text = JSON.stringify(entry);
      if (seen.has(text)) throw new Problem("bad-suite", `${at([key, index])}: listed twice`);
      seen.add(text);
    });
  }
}

/** Of the alternatives of a union, what is wrong with the one that was meant: the one of the same type. */
function deepest(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== "invalid_union") return issue;
  const meant = issue.errors
    .map((alternative) => alternative[0] as z.core.$ZodIssue)
    .filter((each) => each !== undefined && !(each.code === "invalid_type" && each.path.length === 0))
    .map((each) => deepest({ ...each, path: [...issue.path, ...each.path] }));
  return meant[0] ?? issue;
}

function describe(issue: z.core.$ZodIssue, at: (path: Path, key?: string) => string): string {
  const path = issue.path as Path;
  const name = path.join(".");
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0] as string;
    const known = knownKeys(path);
    const near = nearest(key, known);
    const where = name === "" ? "a suite" : name;
    const advice = near === undefined ? `; ${where} has ${known.join(", ")}` : `; did you mean "${near}"?`;
    return `${at(path, key)}: unknown key "${key}"${advice}`;
  }
  if (issue.code === "invalid_type" && issue.input === undefined && /received undefined/.test(issue.message)) {
    return `${at(path.slice(0, -1))}: "${name}" is missing`;
  }
  if (issue.code === "invalid_value" && typeof issue.values[0] === "string") {
    return `${at(path)}: ${name}: expected ${issue.values.map((value) => `"${String(value)}"`).join(" or ")}`;
  }
  const message = issue.message.replace(/^Invalid (input|string): /, "");
  return `${at(path)}: ${name === "" ? "a suite" : name}: ${message}`;
}

/** Keys that the schema knows at a path. */
function knownKeys(path: Path): readonly string[] {
  if (path.length === 0) return Object.keys(suiteSchema.shape);
  if (path[0] === "techniques") return ["technique", "memory", "parameters"];
  if (path[0] === "rows") return ["row", "instruction", "cpl", "scenario", "cells", "same", "differs"];
  return ["workload", "parameters", "loadAddress", "repetitions", "fails"];
}

/** Where in the text a path stands: its value, or `key` of it; the nearest ancestor when it is not there. */
function offsetOf(document: Document, path: Path, key?: string): number {
  let node: unknown = document.contents;
  for (const step of path) {
    const next: unknown =
      isNode(node) && "get" in node ? (node as { get(k: unknown, keep: true): unknown }).get(step, true) : undefined;
    if (!isNode(next)) break;
    node = next;
  }
  if (key !== undefined && isMap(node)) {
    const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === key);
    if (pair !== undefined && isNode(pair.key)) return (pair.key as Node).range?.[0] ?? 0;
  }
  return isNode(node) ? (node.range?.[0] ?? 0) : 0;
}
