/**
 * Tidy tables: one observation a row, with its unit. Every row begins with what names its point, so that each file
 * stands alone, and `overrides` says which `--set` values were in force.
 */
import type { PointKey } from "../point.ts";

export const KEY_COLUMNS = [
  "profile",
  "technique",
  "memory",
  "variant",
  "workload",
  "parameters",
  "overrides",
] as const;
/** What names a point, repetition aside. */
export type Key = Readonly<Record<(typeof KEY_COLUMNS)[number], string>>;

/** The quantities that a region or a whole run is measured by. */
export interface Measurement {
  readonly key: Key;
  readonly repetition: number;
  /** Region number; empty for the whole run. */
  readonly region: string;
  readonly regionName: string;
  readonly quantity: string;
  /** What of the quantity: the cause of exits; empty when it is one number. */
  readonly detail: string;
  readonly value: number;
  readonly unit: string;
}

/** The columns of a point that are the same in all its repetitions. */
export function keyOf(point: PointKey): Key {
  const { profile, technique, memory, variant, workload, parameters, overrides } = point;
  return { profile, technique, memory, variant, workload, parameters, overrides };
}

/** The key as cells, in the order of KEY_COLUMNS. */
export function keyCells(key: Key): readonly string[] {
  return KEY_COLUMNS.map((column) => key[column]);
}

/** A number as it stands in CSV: at most six decimals, so that no digit is noise of binary fractions. */
export function rounded(value: number): number {
  return Number(value.toFixed(6));
}
