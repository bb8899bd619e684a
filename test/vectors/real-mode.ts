/**
 * Single-instruction tests of real-address mode that were recorded from an 80286 (Daniel Balsom's SingleStepTests, as
 * ../shared/vectors has them), and a core in real-address mode to run them on. An instruction and the HLT after it, or
 * the handler to which an exception led, run until the processor halts.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { Alarms, Clock } from "../../sim/clock.ts";
import type { Bus } from "../../sim/cpu/bus.ts";
import { Core } from "../../sim/cpu/core.ts";
import type { Profile } from "../../sim/cpu/profiles/profile.ts";
import { ACTIVITY, CELL, CR0, gprCell, RIGHTS, SEG, X87 } from "../../sim/cpu/state.ts";
import { Ledger } from "../../sim/ledger.ts";
import { PhysicalMemory, RAM_OFFSET } from "../../sim/memory/physical.ts";

const GPRS = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"] as const;
const SEGMENTS = ["es", "cs", "ss", "ds"] as const;
type RegisterName = (typeof GPRS)[number] | (typeof SEGMENTS)[number] | "ip" | "flags";

interface Situation {
  readonly regs: Partial<Readonly<Record<RegisterName, number>>>;
  /** [address, byte] pairs. */
  readonly ram: readonly (readonly [number, number])[];
}

export interface RealModeVector {
  /** Opcode form: opcode bytes in hexadecimal, and the digit of a group after a point. */
  readonly f: string;
  readonly name: string;
  /** The instruction and a HLT, in hexadecimal. */
  readonly bytes: string;
  readonly i: Situation;
  /** What changed. */
  readonly o: Situation;
  /** Vector of the exception that was taken. */
  readonly exc?: number;
}

/** The data, at the root of the project or where a build of it stands; null where they are not. */
function vectorFolder(): string | null {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const candidate = join(folder, "..", "shared", "vectors");
    if (existsSync(join(folder, "package.json"))) return existsSync(candidate) ? candidate : null;
    if (dirname(folder) === folder) return null;
    folder = dirname(folder);
  }
}

/** All vectors, or null where the data are not there. */
export function realModeVectors(): RealModeVector[] | null {
  const folder = vectorFolder();
  if (folder === null) return null;
  const text = gunzipSync(readFileSync(join(folder, "80286-sample.jsonl.gz"))).toString("utf8");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as RealModeVector);
}

/** Flags that the set's author compares, by form: all but those that the 286 leaves undefined. */
export function comparableFlags(): ReadonlyMap<string, number> {
  interface Facts {
    readonly "flags-mask"?: number;
    readonly reg?: Readonly<Record<string, Facts>>;
  }
  const file = join(vectorFolder() as string, "80286-metadata.json");
  const { opcodes } = JSON.parse(readFileSync(file, "utf8")) as { readonly opcodes: Readonly<Record<string, Facts>> };
  const masks = new Map<string, number>();
  for (const [opcode, facts] of Object.entries(opcodes)) {
    masks.set(opcode, facts["flags-mask"] ?? 0xffff);
    for (const [digit, { "flags-mask": mask }] of Object.entries(facts.reg ?? {})) {
      masks.set(`${opcode}.${digit}`, mask ?? 0xffff);
    }
  }
  return masks;
}

/** The test machine of the recordings has no devices: reads float. */
const emptyBus: Bus = {
  readPort: (_port, bytes) => (bytes === 4 ? -1 : 2 ** (8 * bytes) - 1),
  writePort: () => undefined,
  readMemory: () => 0xffffffff,
  writeMemory: () => undefined,
  interruptLine: false,
  acknowledgeInterrupt: () => 0,
  nmiLine: false,
  acknowledgeNmi: () => undefined,
};

/** What real-address mode can reach without wrapping at 1 MB. */
const MEMORY_BYTES = 0x110000;
const RIGHTS_AFTER_RESET = RIGHTS.P | RIGHTS.S | 3;
const X87_CONTROL_AFTER_INIT = 0x37f;
const STEPS = 70_000;

/** What a vector left behind. */
export interface RealModeOutcome {
  readonly regs: Readonly<Record<RegisterName, number>>;
  /** "halted", or why the core stopped otherwise. */
  readonly end: string;
  byte(address: number): number;
}

export class RealModeRig {
  readonly #memory = new PhysicalMemory(MEMORY_BYTES);
  readonly #core: Core;
  readonly #words: Int32Array;

  constructor(profile: Profile) {
    const memory = this.#memory;
    this.#words = new Int32Array(memory.buffer, RAM_OFFSET, memory.ramBytes / 4);
    const ledger = new Ledger(new Clock(memory.timeCells, profile.frequencyMHz));
    const alarms = new Alarms();
    this.#core = new Core({ index: 0, memory, bus: emptyBus, ledger, alarms, profile, seed: 1, maxBlock: 1 });
  }

  /** Runs a vector, with other bytes over its memory. */
  run({ i }: RealModeVector, patches: readonly (readonly [number, number])[] = []): RealModeOutcome {
    const memory = this.#memory;
    const core = this.#core;
    const { state } = core;
    this.#words.fill(0);
    core.code.clear();
    for (const [address, byte] of [...i.ram, ...patches]) memory.write8(address, byte);
    const { regs } = i;
    for (const [n, name] of GPRS.entries()) state.set(gprCell(n), regs[name] as number);
    for (const [n, name] of SEGMENTS.entries()) this.#segment(n, regs[name] as number);
    this.#segment(SEG.fs, 0);
    this.#segment(SEG.gs, 0);
    state.flags = ((regs.flags as number) & 0x0fff) | 2;
    state.eip = regs.ip as number;
    state.set(CELL.cr0, CR0.ET | CR0.NE);
    state.set(CELL.idtrBase, 0);
    state.set(CELL.idtrLimit, 0x3ff);
    for (const cell of [CELL.cpl, CELL.activity, CELL.interruptibility, CELL.pendingDebug, X87.status])
      state.set(cell, 0);
    state.set(X87.control, X87_CONTROL_AFTER_INIT);
    let end = "does not halt";
    for (let n = 0; n < STEPS; n++) {
      const stop = core.run({ until: Number.POSITIVE_INFINITY, instructions: 1 });
      if (stop.kind !== "limit") end = `stopped: ${JSON.stringify(stop)}`;
      else if (state.get(CELL.activity) === ACTIVITY.HLT) end = "halted";
      else continue;
      break;
    }
    const after: Partial<Record<RegisterName, number>> = { ip: state.eip, flags: state.flags & 0xffff };
    for (const [n, name] of GPRS.entries()) after[name] = state.get(gprCell(n));
    for (const [n, name] of SEGMENTS.entries()) after[name] = state.selector(n);
    return { regs: after as Record<RegisterName, number>, end, byte: (address) => memory.read8(address) };
  }

  #segment(segment: number, selector: number): void {
    this.#core.state.setSegment(segment, selector, selector << 4, 0xffff, RIGHTS_AFTER_RESET);
  }
}

/** What of an outcome is compared. */
export interface Comparison {
  readonly flagsMask: number;
  /** Registers and whether memory is left out. */
  readonly without?: readonly RegisterName[];
}

/** How an outcome differs from the recording; empty when it does not. */
export function realModeMismatches(vector: RealModeVector, outcome: RealModeOutcome, comparison: Comparison): string[] {
  const differences: string[] = [];
  if (outcome.end !== "halted") differences.push(outcome.end);
  for (const name of [...GPRS, ...SEGMENTS, "ip", "flags"] as const) {
    if (comparison.without?.includes(name) === true) continue;
    // EIP goes on to 10000h where the 286's IP of 16 bits begins again.
    const mask = name === "flags" ? comparison.flagsMask & 0x0fff : 0xffff;
    const expected = vector.o.regs[name] ?? (vector.i.regs[name] as number);
    const difference = (outcome.regs[name] ^ expected) & mask;
    if (difference !== 0) differences.push(`${name} ${outcome.regs[name].toString(16)}, not ${expected.toString(16)}`);
  }
  const flagsImage = pushedFlags(vector);
  for (const [address, expected] of new Map([...vector.i.ram, ...vector.o.ram])) {
    const at = address - flagsImage;
    const mask = at === 0 || at === 1 ? comparison.flagsMask >> (8 * at) : 0xff;
    const byte = outcome.byte(address);
    if (((byte ^ expected) & mask & 0xff) !== 0) {
      differences.push(`[${address.toString(16)}] ${byte.toString(16)}, not ${expected.toString(16)}`);
    }
  }
  return differences;
}

/** Address of the image of FLAGS in the frame of an exception, or -1. */
function pushedFlags(vector: RealModeVector): number {
  if (vector.exc === undefined) return -1;
  const ss = vector.i.regs.ss as number;
  return ss * 16 + (((vector.o.regs.sp as number) + 4) & 0xffff);
}
