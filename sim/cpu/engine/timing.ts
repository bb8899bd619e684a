/**
 * Where a region looks at the time. A node that does asks whether the longest way from it to the next that does ends before
 * the deadline, so that those between need not ask: the heads of loops do, what follows something whose cost is not known
 * before, and others where the way would get too long.
 */
import type { Structure } from "./structure.ts";

/** Longest way in ticks, but for one node more: so much before a deadline the interpreter takes over. */
const LONGEST_WAY = 1500;

export interface TimedGraph {
  successors(node: number): readonly number[];
  /** What a node costs at the least: at the most, too, unless `unforeseen` says otherwise. */
  ticks(node: number): number;
  /** Nodes that have to look because of this one. */
  unforeseen(node: number): readonly number[];
}

export interface Timing {
  looks(node: number): boolean;
  /** Ticks from the beginning of a node to the next one that looks, on the longest way. */
  ahead(node: number): number;
}

export function timingOf(structure: Structure, graph: TimedGraph): Timing {
  const looking = new Set<number>([structure.order[0] as number]);
  for (const node of structure.order) {
    if (structure.isLoop(node)) looking.add(node);
    for (const each of graph.unforeseen(node)) looking.add(each);
  }
  const ahead = new Map<number, number>();
  // Successors before their predecessors: a way back leads to a loop's head, or out of the region.
  for (const node of [...structure.order].reverse()) {
    const ways = graph.successors(node).map((to) => (looking.has(to) ? 0 : (ahead.get(to) ?? 0)));
    const longest = graph.ticks(node) + Math.max(0, ...ways);
    ahead.set(node, longest);
    if (longest > LONGEST_WAY) looking.add(node);
  }
  return { looks: (node) => looking.has(node), ahead: (node) => ahead.get(node) as number };
}
