/**
 * Looking at a guest that stands still: its registers, its memory by linear address through its own page tables, its
 * code as text. Nothing here changes anything: no A or D flag is set, no device is read in a way that it would notice.
 *
 * Simplified: device memory but for the display's reads as absent.
 */
import { Decoder, DecoderOptions, FlowControl, Formatter, FormatterSyntax, type Instruction } from "iced-x86";
import { CELL, CpuState, CR0, CR4, FLAG, GPR, modeName, RIGHTS, SEG, SEGMENT_NAMES } from "../sim/cpu/state.ts";
import type { Machine } from "../sim/machine.ts";
import { PAGE_SIZE, pageBase } from "../sim/memory/address.ts";
import { PAGING_32, PAGING_PAE, tablesOf } from "../sim/memory/page-tables.ts";
import { FIRST_STAGE_REASONS, WALK, WALK_OUTCOME, type WalkContext, WalkResult, walk } from "../sim/memory/walk.ts";

/** Guest-physical addresses have at most so many bits in what is looked at here. */
const PHYSICAL_ADDRESS_BITS = 36;
const MAX_INSTRUCTION_BYTES = 15;
/** Firmware has 128 KB at most. */
const ROM_ALIAS = 2 ** 32 - 0x2_0000;

/** The guest's processor as it is now. */
export function processorOf(machine: Machine): CpuState {
  const state = new CpuState();
  state.restore(machine.technique.inspectCpu().cpu);
  return state;
}

/** Linear address of the next instruction. */
export function linearEip(state: CpuState): number {
  return (state.segmentBase(SEG.cs) + state.eip) >>> 0;
}

/** Bits of the code that runs: 16 or 32. */
export function codeBits(state: CpuState): 16 | 32 {
  return (state.segmentRights(SEG.cs) & RIGHTS.DB) !== 0 ? 32 : 16;
}

/** The mode of the processor in words: `real mode`, `virtual-8086 mode`, `32-bit protected mode, CPL 0, paging`. */
export function modeText(state: CpuState): string {
  const mode = modeName(state);
  if ((state.cr0 & CR0.PE) === 0) return mode;
  const paging = (state.cr0 & CR0.PG) === 0 ? "" : (state.cr4 & CR4.PAE) === 0 ? ", paging" : ", PAE paging";
  return (state.flags & FLAG.VM) !== 0 ? `${mode}${paging}` : `${mode}, CPL ${state.cpl}${paging}`;
}

/** `0008:00100123`. */
export function placeText(state: CpuState): string {
  return `${hex(state.selector(SEG.cs), 4)}:${hex(state.eip)}`;
}

const GENERAL = ["eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp"] as const;
const CONTROL = ["cr0", "cr2", "cr3", "cr4"] as const;
const FLAG_LETTERS = ["CF", "PF", "AF", "ZF", "SF", "TF", "IF", "DF", "OF", "NT", "RF", "VM", "AC"] as const;

/** General registers, EIP and flags, and what translates: five lines. */
export function registerLines(state: CpuState): string[] {
  const general = GENERAL.map((name) => `${name} ${hex(state.get(GPR[name]))}`);
  const flags = FLAG_LETTERS.filter((name) => (state.flags & FLAG[name]) !== 0).join(" ");
  const segments = SEGMENT_NAMES.slice(0, 6).map((name, n) => `${name} ${hex(state.selector(n), 4)}`);
  return [
    general.slice(0, 4).join("  "),
    general.slice(4).join("  "),
    `eip ${hex(state.eip)}  eflags ${hex(state.flags >>> 0)}${flags === "" ? "" : ` (${flags})`}`,
    segments.join("  "),
    CONTROL.map((name) => `${name} ${hex(state.get(CELL[name]))}`).join("  "),
  ];
}

/** Segment registers with their hidden parts, descriptor tables, debug registers. */
export function systemLines(state: CpuState): string[] {
  const segments = SEGMENT_NAMES.map(
    (name, n) =>
      `${name.padEnd(4)} ${hex(state.selector(n), 4)}  base ${hex(state.segmentBase(n))}  limit ${hex(state.segmentLimit(n))}  rights ${hex(state.segmentRights(n), 5)}`,
  );
  const table = (name: "gdtr" | "idtr") =>
    `${name} base ${hex(state.get(CELL[`${name}Base`]))}  limit ${hex(state.get(CELL[`${name}Limit`]), 4)}`;
  const debug = (["dr0", "dr1", "dr2", "dr3", "dr6", "dr7"] as const).map(
    (name) => `${name} ${hex(state.get(CELL[name]))}`,
  );
  return [...segments, table("gdtr"), table("idtr"), debug.join("  "), `efer ${hex(state.get(CELL.efer))}`];
}

/** Guest-physical address of a linear one by the guest's tables, whatever they permit; -1 where nothing is mapped. */
export function physicalAddress(machine: Machine, state: CpuState, linear: number): number {
  if ((state.cr0 & CR0.PG) === 0) return linear;
  const pae = (state.cr4 & CR4.PAE) !== 0;
  const cr3 = state.get(CELL.cr3);
  const word = (address: number) => readWord(machine, address);
  const context: WalkContext = {
    root: pageBase(cr3),
    writeProtect: false,
    globalPages: false,
    fetchInErrorCode: false,
    ...(pae ? { pdptes: state.pdptes() } : {}),
    memory: { readTable: word, updateTable: () => undefined },
    reasons: FIRST_STAGE_REASONS,
    secondStage: null,
    result: new WalkResult(),
  };
  const features = { physicalAddressBits: PHYSICAL_ADDRESS_BITS, pse: (state.cr4 & CR4.PSE) !== 0, pse36: true };
  const tables = pae
    ? tablesOf(PAGING_PAE, { physicalAddressBits: PHYSICAL_ADDRESS_BITS, nxe: true })
    : tablesOf(PAGING_32, features);
  const result = walk(tables, context, linear, WALK.READ);
  return result.outcome === WALK_OUTCOME.TRANSLATED ? result.pageBase + (linear % 2 ** result.pageShift) : -1;
}

/** Bytes at a linear address, as many of `length` as there are before the first that cannot be read. */
export function readLinear(machine: Machine, state: CpuState, linear: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const address = (linear + at) >>> 0;
    const room = Math.min(length - at, PAGE_SIZE - (address % PAGE_SIZE));
    const physical = physicalAddress(machine, state, address);
    if (physical < 0 || !readPhysical(machine, physical, bytes.subarray(at, at + room))) return bytes.subarray(0, at);
    at += room;
  }
  return bytes;
}

/** Writes bytes at a linear address, read-only pages too. False, with nothing written, when some are not in RAM. */
export function writeLinear(machine: Machine, state: CpuState, linear: number, bytes: Uint8Array): boolean {
  const pieces: [physical: number, from: number, to: number][] = [];
  for (let at = 0; at < bytes.length; ) {
    const address = (linear + at) >>> 0;
    const room = Math.min(bytes.length - at, PAGE_SIZE - (address % PAGE_SIZE));
    const physical = physicalAddress(machine, state, address);
    if (physical < 0 || physical + room > machine.guestBytes) return false;
    pieces.push([physical, at, at + room]);
    at += room;
  }
  for (const [physical, from, to] of pieces) machine.technique.writeGuest(physical, bytes.subarray(from, to));
  return true;
}

/** Reads within one page of guest-physical space: RAM, or the display's buffer. False where there is neither. */
function readPhysical(machine: Machine, address: number, into: Uint8Array): boolean {
  const { vga } = machine.board;
  if (vga.claims(address)) {
    for (let i = 0; i < into.length; i++) into[i] = vga.readMemory(address + i, 1);
    return true;
  }
  // The firmware's ROM, which ends at 1 MB, ends at 4 GB again.
  const place = address >= ROM_ALIAS ? address - (2 ** 32 - 2 ** 20) : address;
  if (place + into.length > machine.guestBytes) return false;
  machine.technique.readGuest(place, into);
  return true;
}

function readWord(machine: Machine, address: number): number {
  const bytes = new Uint8Array(4);
  if (!readPhysical(machine, address, bytes)) return -1;
  return new DataView(bytes.buffer).getInt32(0, true);
}

/** An instruction as text. */
export interface Disassembled {
  readonly text: string;
  readonly bytes: Uint8Array;
  /** Whether the next instruction follows: never, always, or unless it goes to this EIP (a conditional branch). */
  readonly next: "never" | "always" | number;
}

/** Turns bytes into text, in the syntax of the manuals. Free it when it is no longer needed. */
export class Disassembler {
  readonly #formatter = new Formatter(FormatterSyntax.Nasm);

  constructor() {
    this.#formatter.hexPrefix = "0x";
    this.#formatter.hexSuffix = "";
    this.#formatter.uppercaseHex = false;
    this.#formatter.spaceAfterOperandSeparator = true;
  }

  /** The first instruction of `bytes`, which stands at `eip` in its segment. */
  one(bytes: Uint8Array, eip: number, bits: 16 | 32): Disassembled {
    const decoder = new Decoder(bits, bytes, DecoderOptions.None);
    decoder.ip = BigInt(eip >>> 0);
    const instruction = decoder.decode();
    try {
      if (instruction.isInvalid) return { text: "(bad)", bytes: bytes.slice(0, 1), next: "never" };
      const text = this.#formatter.format(instruction);
      return { text, bytes: bytes.slice(0, instruction.length), next: follows(instruction) };
    } finally {
      instruction.free();
      decoder.free();
    }
  }

  /** The instruction at the guest's CS:EIP; null where its bytes cannot be read. */
  next(machine: Machine, state: CpuState): Disassembled | null {
    const bytes = readLinear(machine, state, linearEip(state), MAX_INSTRUCTION_BYTES);
    return bytes.length === 0 ? null : this.one(bytes, state.eip, codeBits(state));
  }

  free(): void {
    this.#formatter.free();
  }
}

function follows({ flowControl, nearBranchTarget }: Instruction): Disassembled["next"] {
  if (flowControl === FlowControl.Next) return "always";
  return flowControl === FlowControl.ConditionalBranch ? Number(nearBranchTarget) : "never";
}

/** Bytes as `0f 1f 00`. */
export function bytesText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/** Unsigned, in hexadecimal without a prefix. */
export function hex(value: number, digits = 8): string {
  return (value >>> 0).toString(16).padStart(digits, "0");
}
