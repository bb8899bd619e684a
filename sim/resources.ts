/**
 * What a machine takes from whoever runs it, because whoever runs many one after another can give it again: a fresh memory for
 * each makes the host collect garbage each time, and compiled code of the same bytes is the same code. Never changes a result.
 */
export interface Resources {
  /** A memory of so many pages of 64 KB or more, which is all zeroes as far as that, and nobody else's. */
  memory(pages: number): WebAssembly.Memory;
  /** The module of these bytes. */
  module(bytes: Uint8Array): WebAssembly.Module;
  /** What has been made for `key` before, or is made now: of things that hold nothing of a run there is one for each key. */
  kept<Thing extends object>(key: object, make: () => Thing): Thing;
}

/** Everything new. */
export const FRESH: Resources = {
  memory: (pages) => new WebAssembly.Memory({ initial: pages, maximum: pages }),
  module: (bytes) => new WebAssembly.Module(bytes),
  kept: (_, make) => make(),
};
