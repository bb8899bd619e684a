/** Whether pages of code are still where they were when a region was built: as the fast table of fetches has them. */
import { PAGE_SIZE } from "../../memory/address.ts";
import { baseCell, SEG } from "../state.ts";
import type { RegionCode } from "./code.ts";
import { EXIT } from "./contract.ts";
import { WORD_SHIFT } from "./layout.ts";
import { firstPages, lastPages, type RegionNode } from "./region.ts";
import { WASM } from "./wasm.ts";

/**
 * On the way from one of some nodes to one at `delta`: leaves unless the translations of its pages are those that the region
 * was built with. Those of the page that it comes from are.
 */
export function checkPages(c: RegionCode, from: readonly RegionNode[], to: RegionNode, delta: number): void {
  const { offset, pages } = c.region;
  const known = from.map((node) => lastPages(node, offset));
  for (const index of firstPages(to, offset)) {
    if (known.every((each) => each.includes(index))) continue;
    const { f } = c;
    fetchSlot(c, index === (offset + delta) >> 12 ? delta : index * PAGE_SIZE - offset);
    f.op(WASM.i32Ne);
    f.get(c.host);
    f.memory(WASM.i32Load, c.layout.fetchBases + fetchPart(c), 2);
    f.i32(pages.get(index) as number);
    f.op(WASM.i32Ne);
    f.op(WASM.i32Or);
    c.rarely(() => c.exitAt(delta, EXIT.LEFT));
  }
}

/** Page number of a place, and that in its slot of the fast table of fetches; the slot's offset is in `host`. */
export function fetchSlot(c: RegionCode, delta: number): void {
  const { f } = c;
  const { fetchTags, fetchBits } = c.layout;
  f.get(c.entry);
  f.i32(delta);
  f.op(WASM.i32Add);
  c.loadCell(baseCell(SEG.cs));
  f.op(WASM.i32Add);
  f.i32(12);
  f.op(WASM.i32ShrU);
  f.tee(c.scratch);
  f.get(c.scratch);
  f.i32((1 << fetchBits) - 1);
  f.op(WASM.i32And);
  f.i32(WORD_SHIFT);
  f.op(WASM.i32Shl);
  f.tee(c.host);
  f.memory(WASM.i32Load, fetchTags + fetchPart(c), 2);
}

/** Byte offset of the part of the fast table of fetches for the region's privilege. */
function fetchPart(c: RegionCode): number {
  return c.context.user ? 4 << c.layout.fetchBits : 0;
}
