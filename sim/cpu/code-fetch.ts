/**
 * What stands where the processor fetches: lifted blocks by physical address, in the mode that segments, privilege and the
 * monitor's pages give, from RAM, ROM or the bus. Translation of the first byte is the core's; that of a second page is here.
 */
import type { Domain } from "../ledger.ts";
import { PAGE_SIZE, pageOffset } from "../memory/address.ts";
import type { PhysicalMemory } from "../memory/physical.ts";
import type { Accounts } from "./accounts.ts";
import type { Bus } from "./bus.ts";
import type { Block, BlockMode, CodeCache } from "./code-cache.ts";
import { MAX_INSTRUCTION_BYTES } from "./decode.ts";
import { MODE } from "./engine/contract.ts";
import type { Mmu } from "./mmu.ts";
import { type CpuState, RIGHTS, raise, SEG, VECTOR } from "./state.ts";

const DOMAINS_OF_CODE = ["guest-user", "guest-kernel", "monitor"] as const satisfies readonly Domain[];

export interface CodeFetchParts {
  readonly state: CpuState;
  readonly memory: PhysicalMemory;
  readonly bus: Bus;
  readonly mmu: Mmu;
  readonly code: CodeCache;
  readonly accounts: Accounts;
}

export class CodeFetch {
  readonly #state: CpuState;
  readonly #memory: PhysicalMemory;
  readonly #ramBytes: number;
  readonly #bus: Bus;
  readonly #mmu: Mmu;
  readonly #code: CodeCache;
  readonly #accounts: Accounts;
  readonly #modes: (BlockMode | undefined)[] = [];
  /** For each host-physical page 1 where code belongs to the monitor; null without a monitor. */
  attribution: Uint8Array | null = null;

  constructor(parts: CodeFetchParts) {
    this.#state = parts.state;
    this.#memory = parts.memory;
    this.#ramBytes = parts.memory.ramBytes;
    this.#bus = parts.bus;
    this.#mmu = parts.mmu;
    this.#code = parts.code;
    this.#accounts = parts.accounts;
  }

  /** The block at a physical address, lifted if need be; null with a fault signalled. */
  block(physical: number, linear: number, user: boolean, single: boolean): Block | null {
    const mode = this.mode(physical, user, single);
    this.#accounts.current = this.#accounts.byDomain[DOMAINS_OF_CODE[mode.index & 3] as Domain];
    if (physical >= this.#ramBytes) return this.#fromBus(physical, linear, user, mode);
    let block = this.#code.lookup(physical, mode);
    let secondPage = -1;
    if (block === undefined) {
      if (!this.#memory.stores(physical)) return this.#fromBus(physical, linear, user, mode);
      const lifted = this.#code.lift(physical, -1, mode);
      if (lifted !== "second-page") return lifted;
    } else if (block.secondPage < 0) {
      return block;
    }
    // Bytes beyond the segment are not fetched: #GP comes before what their page would raise.
    const limit = this.#state.segmentLimit(SEG.cs);
    if (limit !== 0xffffffff && this.#state.eip + 0x1000 - (linear & 0xfff) > limit) {
      raise(this.#state, VECTOR.GP, 0);
      return null;
    }
    secondPage = this.#mmu.fetch((linear - (linear & 0xfff) + 0x1000) >>> 0, user);
    if (secondPage < 0) return null;
    if (block === undefined || block.secondPage !== secondPage) {
      if (!this.#memory.stores(secondPage)) return this.#fromBus(physical, linear, user, mode);
      block = this.#code.lift(physical, secondPage, mode) as Block;
    }
    return block;
  }

  /**
   * One instruction of which at least a part is neither in RAM nor in ROM: bytes as the bus gives them, aligned double
   * words at a time, fetched again each time it runs; nothing but all ones where no device answers. Null with a fault
   * signalled.
   */
  #fromBus(physical: number, linear: number, user: boolean, mode: BlockMode): Block | null {
    const first = Math.min(MAX_INSTRUCTION_BYTES, PAGE_SIZE - pageOffset(physical));
    const code = new Uint8Array(MAX_INSTRUCTION_BYTES);
    this.#codeBytes(physical, code.subarray(0, first));
    const block = this.#code.uncached(code.subarray(0, first), mode);
    if (block !== "truncated") return block;
    const secondPage = this.#mmu.fetch((linear - (linear & 0xfff) + 0x1000) >>> 0, user);
    if (secondPage < 0) return null;
    this.#codeBytes(secondPage, code.subarray(first));
    return this.#code.uncached(code, mode) as Block;
  }

  /** Fills `into` with the bytes from a physical address, all of one page. */
  #codeBytes(physical: number, into: Uint8Array): void {
    if (this.#memory.stores(physical)) {
      into.set(this.#memory.copyOut(physical, into.length));
      return;
    }
    let word = 0;
    for (let i = 0; i < into.length; i++) {
      const at = physical + i;
      if (i === 0 || at % 4 === 0) word = this.#bus.readMemory(at - (at % 4), 4);
      into[i] = word >>> (8 * (at % 4));
    }
  }

  /** Decides how what stands at a physical address is lifted and charged. */
  mode(physical: number, user: boolean, single: boolean): BlockMode {
    const domain = user
      ? MODE.USER
      : this.attribution !== null && this.attribution[physical >>> 12] === 1
        ? MODE.MONITOR
        : MODE.KERNEL;
    const index = this.modeIndex(domain, single);
    let mode = this.#modes[index];
    if (mode === undefined) {
      const account = this.#accounts.byDomain[DOMAINS_OF_CODE[domain] as Domain].instructions;
      const bits = (index & MODE.BIG) !== 0 ? 32 : 16;
      mode = { bits, stackBits: (index & MODE.BIG_STACK) !== 0 ? 32 : 16, account, user, single, index };
      this.#modes[index] = mode;
    }
    return mode;
  }

  /** Its index for a part of MODE, with the present segments. */
  modeIndex(domain: number, single: boolean): number {
    const big = (this.#state.segmentRights(SEG.cs) & RIGHTS.DB) !== 0;
    const bigStack = (this.#state.segmentRights(SEG.ss) & RIGHTS.DB) !== 0;
    return domain | (big ? MODE.BIG : 0) | (bigStack ? MODE.BIG_STACK : 0) | (single ? 16 : 0);
  }
}
