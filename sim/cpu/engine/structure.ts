/**
 * Structured control flow from a region's graph (N. Ramsey, "Beyond Relooper: recursive translation of unstructured control
 * flow to structured control flow", ICFP 2022): nodes in reverse postorder, dominators, loop headers and merge nodes. A
 * back edge to a node that does not dominate its source makes a graph irreducible: such an edge leaves the region.
 */

/** Where an edge goes. */
export type EdgeKind =
  /** The target follows here: nobody else comes to it. */
  | "inline"
  /** To a merge node, placed behind a block that is open here. */
  | "forward"
  /** To a loop that is open here. */
  | "back"
  /** Out of the region. */
  | "leave";

export interface Structure {
  /** All nodes that can be reached, in reverse postorder. */
  readonly order: readonly number[];
  isLoop(node: number): boolean;
  /** Merge nodes immediately dominated by a node, last in reverse postorder first. */
  merges(node: number): readonly number[];
  edge(from: number, to: number): EdgeKind;
}

/** The structure of a graph that is entered at `entry`; `successors` gives a node's edges inside it. */
export function structureOf(entry: number, successors: (node: number) => readonly number[]): Structure {
  const order = reversePostorder(entry, successors);
  const index = new Map(order.map((node, n) => [node, n]));
  const at = (node: number): number => index.get(node) as number;
  const predecessors = new Map<number, number[]>(order.map((node) => [node, []]));
  for (const node of order) for (const to of new Set(successors(node))) predecessors.get(to)?.push(node);
  const idom = dominators(order, index, predecessors);
  const dominates = (a: number, b: number): boolean => {
    let n = at(b);
    while (n > at(a)) n = idom[n] as number;
    return n === at(a);
  };
  const isBack = (from: number, to: number): boolean => at(to) <= at(from);
  const loops = new Set<number>();
  const merges = new Map<number, number[]>();
  const isMerge = new Set<number>();
  for (const node of order) {
    const from = predecessors.get(node) as number[];
    if (from.some((p) => isBack(p, node) && dominates(node, p))) loops.add(node);
    // A node with one forward edge follows the node that it comes from, which then is its immediate dominator.
    if (from.filter((p) => !isBack(p, node)).length < 2) continue;
    isMerge.add(node);
    const parent = order[idom[at(node)] as number] as number;
    merges.set(parent, [node, ...(merges.get(parent) ?? [])]);
  }
  return {
    order,
    isLoop: (node) => loops.has(node),
    merges: (node) => merges.get(node) ?? [],
    edge(from, to) {
      if (!index.has(to)) return "leave";
      if (isBack(from, to)) return dominates(to, from) ? "back" : "leave";
      return isMerge.has(to) ? "forward" : "inline";
    },
  };
}

function reversePostorder(entry: number, successors: (node: number) => readonly number[]): number[] {
  const order: number[] = [];
  const seen = new Set<number>([entry]);
  const stack: { node: number; next: number; edges: readonly number[] }[] = [
    { node: entry, next: 0, edges: successors(entry) },
  ];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const to = top.edges[top.next++];
    if (to === undefined) {
      order.push(top.node);
      stack.pop();
    } else if (!seen.has(to)) {
      seen.add(to);
      stack.push({ node: to, next: 0, edges: successors(to) });
    }
  }
  return order.reverse();
}

/** Immediate dominators by index in reverse postorder (Cooper, Harvey, Kennedy, "A simple, fast dominance algorithm"). */
function dominators(
  order: readonly number[],
  index: ReadonlyMap<number, number>,
  predecessors: ReadonlyMap<number, readonly number[]>,
): number[] {
  const idom = new Array<number>(order.length).fill(-1);
  idom[0] = 0;
  const meet = (a: number, b: number): number => {
    while (a !== b) {
      while (a > b) a = idom[a] as number;
      while (b > a) b = idom[b] as number;
    }
    return a;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (let n = 1; n < order.length; n++) {
      let best = -1;
      for (const node of predecessors.get(order[n] as number) as readonly number[]) {
        const p = index.get(node) as number;
        if (idom[p] === -1) continue;
        best = best === -1 ? p : meet(p, best);
      }
      if (idom[n] !== best) {
        idom[n] = best;
        changed = true;
      }
    }
  }
  return idom;
}
