/**
 * The checks of a VM entry, made again only where something changed since they passed. A check is a function of what it
 * reads; which fields these are is heard while it is made, and a check none of whose fields has another value passes again.
 * Those that read memory or processor state are made each time. This is for the simulator's speed and decides nothing:
 * the first check of a list that fails is the one that is found, and references to the VMCS count as if all had been made.
 */
import type { CpuState } from "../state.ts";
import type { CheckedFields, EntryCheck, EntryContext } from "./entry-checks.ts";
import type { VmcsField } from "./fields.ts";
import type { CountedMemory, Vmcs } from "./vmcs.ts";

/** Words of a VMCS region that fields may be in. */
const REGION_WORDS = 1024;

/** Checks that have read certain bits of a word, as numbers. */
interface Readers {
  readonly mask: number;
  readonly checks: Set<number>;
}

export class CheckMemo {
  readonly #checks: readonly EntryCheck[];
  /** Number of the first check of each list, and of all. */
  readonly #firsts: readonly number[];
  readonly #vmcs: Vmcs;
  readonly #memory: CountedMemory;
  readonly #heard: EntryContext;
  /** By check: it has to be made; it has to be made each time; references to the VMCS that it made. */
  readonly #stale: Uint8Array;
  readonly #always: Uint8Array;
  readonly #references: Uint16Array;
  /** The VMCS as it is, and where; null: there is nothing to compare with. */
  #region: Int32Array | null = null;
  #pointer = -1;
  /** Its words as they were, as far as checks have read any, and who read them. */
  readonly #values = new Int32Array(REGION_WORDS);
  #words = 0;
  readonly #readers: Readers[][] = [];
  /** The check that is being made. */
  #reader = 0;

  constructor(lists: readonly (readonly EntryCheck[])[], entry: EntryContext, vmcs: Vmcs, memory: CountedMemory) {
    this.#checks = lists.flat();
    this.#firsts = [0, ...lists.map((_, n) => lists.slice(0, n + 1).flat().length)];
    this.#vmcs = vmcs;
    this.#memory = memory;
    this.#stale = new Uint8Array(this.#checks.length);
    this.#always = new Uint8Array(this.#checks.length);
    this.#references = new Uint16Array(this.#checks.length);
    const unnoted = (): void => {
      this.#always[this.#reader] = 1;
    };
    this.#heard = {
      vmcs: new HeardFields(vmcs, (offset, mask) => this.#note(offset, mask), unnoted),
      get state(): CpuState {
        unnoted();
        return entry.state;
      },
      capabilities: entry.capabilities,
      physicalAddressBits: entry.physicalAddressBits,
    };
  }

  /** Finds the checks that have read something that has changed. To be called when an entry begins, before `firstFailure`. */
  compare(): void {
    const { pointer } = this.#vmcs;
    if (pointer !== this.#pointer || this.#region === null) {
      this.#pointer = pointer;
      this.#region = this.#memory.view(pointer, REGION_WORDS);
      if (this.#region !== null) this.#values.set(this.#region);
      this.#stale.fill(1);
      return;
    }
    const region = this.#region;
    const values = this.#values;
    for (let word = 0; word < this.#words; word++) {
      const changed = (region[word] as number) ^ (values[word] as number);
      if (changed === 0) continue;
      values[word] = region[word] as number;
      for (const { mask, checks } of this.#readers[word] ?? []) {
        if ((changed & mask) === 0) continue;
        for (const check of checks) this.#stale[check] = 1;
      }
    }
  }

  /** The first check of list `list` that fails, or null. */
  firstFailure(list: number): EntryCheck | null {
    const memory = this.#memory;
    const end = this.#firsts[list + 1] as number;
    let failure: EntryCheck | null = null;
    let saved = 0;
    for (let n = this.#firsts[list] as number; n < end && failure === null; n++) {
      if (this.#stale[n] === 0) {
        saved += this.#references[n] as number;
        continue;
      }
      const check = this.#checks[n] as EntryCheck;
      const before = memory.references;
      this.#reader = n;
      if (check.passes(this.#heard)) this.#stale[n] = this.#always[n] as number;
      else failure = check;
      this.#references[n] = memory.references - before;
    }
    memory.references += saved;
    return failure;
  }

  #note(offset: number, mask: number): void {
    const word = offset / 4;
    if (word >= this.#words) {
      // What has not been compared so far is as it is now.
      if (this.#region !== null) this.#values.set(this.#region.subarray(this.#words, word + 1), this.#words);
      this.#words = word + 1;
    }
    this.#readers[word] ??= [];
    const readers = this.#readers[word] as Readers[];
    let known = readers.find((each) => each.mask === mask);
    if (known === undefined) {
      known = { mask, checks: new Set() };
      readers.push(known);
    }
    known.checks.add(this.#reader);
  }
}

/** Fields of a VMCS that tell which words of it are read. */
class HeardFields implements CheckedFields {
  readonly #vmcs: Vmcs;
  readonly #note: (offset: number, mask: number) => void;
  readonly #unnoted: () => void;

  constructor(vmcs: Vmcs, note: (offset: number, mask: number) => void, unnoted: () => void) {
    this.#vmcs = vmcs;
    this.#note = note;
    this.#unnoted = unnoted;
  }

  /** A new one makes every check stale. */
  get pointer(): number {
    return this.#vmcs.pointer;
  }

  get memory(): CheckedFields["memory"] {
    this.#unnoted();
    return this.#vmcs.memory;
  }

  get(field: VmcsField): number {
    this.#note(field.offset, -1);
    return this.#vmcs.get(field);
  }

  masked(field: VmcsField, mask: number): number {
    this.#note(field.offset, mask);
    return this.#vmcs.masked(field, mask);
  }

  getHigh(field: VmcsField): number {
    this.#note(field.offset + 4, -1);
    return this.#vmcs.getHigh(field);
  }

  getAddress(field: VmcsField): number {
    this.#note(field.offset, -1);
    this.#note(field.offset + 4, -1);
    return this.#vmcs.getAddress(field);
  }
}
