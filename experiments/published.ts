/**
 * Published measurements and which of ours may stand beside them: published-cells.yaml says it, as data, with the
 * standing of each (input, calibrated or predicted) and the reason for each disagreement.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { PUBLISHED_FOLDER, ROOT } from "./paths.ts";
import { readCsv } from "./results-folder.ts";

const standing = z.enum(["input", "calibrated", "predicted"]);
export type Standing = z.infer<typeof standing>;

/** The papers' nanobenchmarks were measured on this processor. */
const PAPER_PROFILE = "pentium4-672";

const schema = z.strictObject({
  cells: z.array(
    z.strictObject({
      cell: z.string(),
      workload: z.string(),
      profile: z.string().default(PAPER_PROFILE),
      technique: z.string(),
      /** Parameters of the technique that are not the usual ones, as in a point's variant. */
      variant: z.string().default(""),
      standing,
      differs: z.string().optional(),
      explain: z.string(),
    }),
  ),
  costs: z.array(
    z.strictObject({
      cell: z.string(),
      profile: z.string(),
      costs: z.array(z.string()).min(1),
      standing,
      explain: z.string().optional(),
    }),
  ),
  notCompared: z.array(z.strictObject({ cells: z.array(z.string()).min(1), reason: z.string() })),
});

/** Files of published rows that published-cells.yaml accounts for, row by row. */
export const COMPARED_FILES = ["adams-agesen-2006.csv", "agesen-2012-exit-latency.csv"] as const;

/** A published row. */
export interface PublishedRow {
  readonly id: string;
  readonly source: string;
  readonly place: string;
  readonly workload: string;
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
}

/** A published number beside which a measured cell of ours stands. */
export interface ComparedCell {
  readonly row: PublishedRow;
  readonly workload: string;
  readonly profile: string;
  readonly technique: string;
  readonly variant: string;
  readonly standing: Standing;
  readonly differs?: string;
  readonly explain: string;
}

/** A published number beside which costs of a profile stand. */
export interface ComparedCost {
  readonly row: PublishedRow;
  readonly profile: string;
  readonly costs: readonly string[];
  readonly standing: Standing;
  readonly explain?: string;
}

export interface Published {
  readonly cells: readonly ComparedCell[];
  readonly costs: readonly ComparedCost[];
  readonly notCompared: readonly { readonly rows: readonly PublishedRow[]; readonly reason: string }[];
}

/** All rows of the compared files, by id. */
export function publishedRows(): ReadonlyMap<string, PublishedRow> {
  const rows = COMPARED_FILES.flatMap((file) => readCsv(join(PUBLISHED_FOLDER, file)));
  return new Map(
    rows.map((row) => {
      const { id, source, table_or_figure, workload, metric, value, unit } = row as Record<string, string>;
      return [id, { id, source, place: table_or_figure, workload, metric, value: Number(value), unit } as PublishedRow];
    }),
  );
}

/** Reads published-cells.yaml. A row that it names and that does not exist is our bug: it throws. */
export function readPublished(): Published {
  const file = schema.parse(parseYaml(readFileSync(join(ROOT, "experiments", "published-cells.yaml"), "utf8")));
  const rows = publishedRows();
  const rowOf = (id: string): PublishedRow => {
    const row = rows.get(id);
    if (row === undefined) throw new Error(`published-cells.yaml: no published row ${id}`);
    return row;
  };
  return {
    cells: file.cells.map(({ cell, differs, ...rest }) => ({
      row: rowOf(cell),
      ...rest,
      ...(differs === undefined ? {} : { differs }),
    })),
    costs: file.costs.map(({ cell, explain, ...rest }) => ({
      row: rowOf(cell),
      ...rest,
      ...(explain === undefined ? {} : { explain }),
    })),
    notCompared: file.notCompared.map(({ cells, reason }) => ({ rows: cells.map(rowOf), reason })),
  };
}

/** The published cell beside a measured one, if there is one. */
export function publishedFor(
  published: Published,
  { profile, technique, variant, workload }: Pick<ComparedCell, "profile" | "technique" | "variant" | "workload">,
): ComparedCell | undefined {
  return published.cells.find(
    (cell) =>
      cell.profile === profile &&
      cell.technique === technique &&
      cell.variant === variant &&
      cell.workload === workload,
  );
}
