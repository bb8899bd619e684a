/**
 * The checks of a VM entry, made again only where something changed since they passed. A check is a function of what it
 * reads; which fields these are is heard while it is made, and a check none of whose fields has another value passes again.
 * Those that read memory or processor state are made each time. This is for the simulator's speed and decides nothing:
 * the first check of the list that fails is the one that is found, and references to the VMCS count as if all had been made.
 */
import type { CpuState } from "../state.ts";
import type { CheckedFields, EntryCheck, EntryContext } from "./entry-checks.ts";
import type { VmcsField } from "./fields.ts";
import type { CountedMemory, Vmcs } from "./vmcs.ts";

/** Words of a VMCS region, some of them twice. */
const MAX_WORDS = 1024;

export class CheckMemo {
  readonly #checks: readonly EntryCheck[];
  readonly #vmcs: Vmcs;
  readonly #memory: CountedMemory;
  readonly #heard: EntryContext;
  /** Words of the VMCS of which some bits were read: where, which, as they were last seen, and the checks that read them. */
  readonly #offsets = new Int32Array(MAX_WORDS);
  readonly #masks = new Int32Array(MAX_WORDS);
  readonly #values = new Int32Array(MAX_WORDS);
  readonly #readers: Set<number>[] = [];
  /** Numbers of these words by offset / 4: one for each mask. */
  readonly #byOffset: number[][] = [];
  /** By check: it has to be made. */
  readonly #stale: Uint8Array;
  /** By check: it has read what is not a field. */
  readonly #always: Uint8Array;
  /** By check: references to the VMCS that it made. */
  readonly #references: Uint16Array;
  /** The VMCS that the values are of. */
  #pointer: number;
  /** The check that is being made. */
  #reader = 0;

  constructor(checks: readonly EntryCheck[], entry: EntryContext, vmcs: Vmcs, memory: CountedMemory) {
    this.#checks = checks;
    this.#vmcs = vmcs;
    this.#memory = memory;
    this.#pointer = vmcs.pointer;
    this.#stale = new Uint8Array(checks.length).fill(1);
    this.#always = new Uint8Array(checks.length);
    this.#references = new Uint16Array(checks.length);
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

  /** The first check that fails, or null. */
  firstFailure(): EntryCheck | null {
    this.#compare();
    const memory = this.#memory;
    let failure: EntryCheck | null = null;
    let saved = 0;
    for (let n = 0; n < this.#checks.length && failure === null; n++) {
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

  /** Finds the checks that have read something that has changed since. */
  #compare(): void {
    const memory = this.#memory;
    const { pointer } = this.#vmcs;
    if (pointer !== this.#pointer) this.#stale.fill(1);
    this.#pointer = pointer;
    for (let word = 0; word < this.#readers.length; word++) {
      const value = memory.peek32(pointer + (this.#offsets[word] as number)) | 0;
      if (((value ^ (this.#values[word] as number)) & (this.#masks[word] as number)) === 0) continue;
      this.#values[word] = value;
      for (const reader of this.#readers[word] as Set<number>) this.#stale[reader] = 1;
    }
  }

  #note(offset: number, mask: number): void {
    this.#byOffset[offset / 4] ??= [];
    const here = this.#byOffset[offset / 4] as number[];
    let word = here.find((known) => this.#masks[known] === mask);
    if (word === undefined) {
      word = this.#readers.length;
      if (word === MAX_WORDS) throw new Error("the checks of a VM entry read more words than there is room for");
      here.push(word);
      this.#readers.push(new Set());
      this.#offsets[word] = offset;
      this.#masks[word] = mask;
      this.#values[word] = this.#memory.peek32(this.#vmcs.pointer + offset);
    }
    (this.#readers[word] as Set<number>).add(this.#reader);
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
