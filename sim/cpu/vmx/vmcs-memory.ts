import { type PhysicalMemory, RAM_OFFSET, REASON } from "../../memory/physical.ts";

/** Memory as the VMX hardware sees it; its references are counted apart. */
export class VmcsMemory {
  readonly #memory: PhysicalMemory;

  constructor(memory: PhysicalMemory) {
    this.#memory = memory;
  }

  get references(): number {
    return this.#memory.references[REASON.vmcs] as number;
  }

  set references(count: number) {
    this.#memory.references[REASON.vmcs] = count;
  }

  view(address: number, words: number): Int32Array | null {
    if (!this.#memory.contains(address, 4 * words)) return null;
    return new Int32Array(this.#memory.buffer, RAM_OFFSET + address, words);
  }

  read32(address: number): number {
    this.#memory.countReference(REASON.vmcs);
    return this.#memory.contains(address, 4) ? this.#memory.read32(address) >>> 0 : 0xffffffff;
  }

  write32(address: number, value: number): void {
    this.#memory.countReference(REASON.vmcs);
    if (this.#memory.contains(address, 4)) this.#memory.write32(address, value);
  }
}
