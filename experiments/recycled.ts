/** Memory, compiled modules and lifted instructions that one run after another uses (sim/resources.ts), in one thread. */
import { createHash } from "node:crypto";
import type { Resources } from "../sim/resources.ts";

const PAGE_BYTES = 65536;
/** Bytes of modules that are kept; the code that is made of them takes about ten times as much. */
const MODULE_BYTES = 4 * 2 ** 20;

export class Recycled implements Resources {
  #memory: WebAssembly.Memory | null = null;
  /** Somebody runs in it. */
  #taken = false;
  /** By hash, the one that was longest not asked for first. */
  readonly #modules = new Map<string, { readonly module: WebAssembly.Module; readonly bytes: number }>();
  #bytes = 0;
  readonly #kept = new WeakMap<object, object>();

  memory(pages: number): WebAssembly.Memory {
    const kept = this.#memory;
    if (kept !== null && !this.#taken && kept.buffer.byteLength >= pages * PAGE_BYTES) {
      this.#taken = true;
      new Uint8Array(kept.buffer, 0, pages * PAGE_BYTES).fill(0);
      return kept;
    }
    const fresh = new WebAssembly.Memory({ initial: pages, maximum: pages });
    if (!this.#taken) this.#memory = fresh;
    this.#taken = true;
    return fresh;
  }

  module(bytes: Uint8Array): WebAssembly.Module {
    const key = createHash("sha256").update(bytes).digest("base64");
    const known = this.#modules.get(key);
    const entry = known ?? { module: new WebAssembly.Module(bytes), bytes: bytes.length };
    this.#modules.delete(key);
    this.#modules.set(key, entry);
    if (known === undefined) this.#bytes += entry.bytes;
    for (const [oldest, { bytes: freed }] of this.#modules) {
      if (this.#bytes <= MODULE_BYTES || oldest === key) break;
      this.#modules.delete(oldest);
      this.#bytes -= freed;
    }
    return entry.module;
  }

  kept<Thing extends object>(key: object, make: () => Thing): Thing {
    const known = this.#kept.get(key);
    if (known !== undefined) return known as Thing;
    const made = make();
    this.#kept.set(key, made);
    return made;
  }

  /** The machine that had the memory is no more. */
  release(): void {
    this.#taken = false;
  }
}
