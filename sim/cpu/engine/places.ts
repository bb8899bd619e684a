/** The places of a region's control flow: its nodes, and two that the compiler adds. */
import { BRANCH } from "../micro-ops.ts";
import type { Region, RegionNode } from "./region.ts";

/**
 * A place that is in no region: all RETs go there, and from there to where they return. Without it a function that is called
 * from several places, above all by itself, has a control flow that cannot be structured.
 */
export const RETURNS = Number.MIN_SAFE_INTEGER;
/**
 * The first node once more, before the loop that it begins: that has its own flags then, and not those of EFLAGS from one
 * way.
 */
export const ENTRY = RETURNS + 1;

/** The node at a place; null for RETURNS. */
export function nodeOf({ nodes }: Region, place: number): RegionNode | null {
  return nodes.get(place === ENTRY ? 0 : place) ?? null;
}

/** Successors of a place inside the region. */
export function successorsOf(region: Region, place: number): readonly number[] {
  if (place === RETURNS) return region.continuations;
  const { end } = nodeOf(region, place) as RegionNode;
  const inside = (deltas: readonly number[]): number[] => deltas.filter((each) => region.nodes.has(each));
  switch (end.kind) {
    case "goto":
      return inside([end.target]);
    case "branch":
      return end.taken === end.next ? inside([end.next]) : inside([end.next, end.taken]);
    case "indirect":
      return end.op.x === BRANCH.RETURN && region.continuations.length > 0 ? [RETURNS] : [];
    default:
      return [];
  }
}
