/**
 * A window of a run, instruction by instruction: where it begins and ends is an address, a number of cycles or a time of
 * the guest. Inside of it the guest is stepped, which changes nothing of the run. A line of text for each instruction:
 *
 *     cycles  CPL  CS:EIP  bytes  disassembly  ; registers that it changed
 *
 * An interrupt that is delivered before an instruction belongs to its line. REP instructions are one line for each time
 * they are entered.
 */
import { TICKS_PER_CYCLE } from "../sim/clock.ts";
import { type CpuState, FLAG, GPR, SEG, SEGMENT_NAMES } from "../sim/cpu/state.ts";
import type { Machine } from "../sim/machine.ts";
import type { RunEnd } from "../sim/result.ts";
import { bytesText, codeBits, Disassembler, hex, linearEip, processorOf, readLinear } from "./inspect.ts";
import type { Session } from "./session.ts";

/** A moment of a run: the instruction at a linear address, or a time in ticks. */
export type Moment = { readonly address: number } | { readonly ticks: number };

export interface TraceWindow {
  /** From the beginning when nothing is said. */
  readonly from?: Moment;
  /** Up to it, the instruction at an address included; to the end when nothing is said. */
  readonly to?: Moment;
  /** Lines at most. */
  readonly count: number;
}

type End = RunEnd | { readonly kind: "quit" };

/** Steps between two looks at the clock of the host. */
const STEPS = 500;
const MAX_INSTRUCTION_BYTES = 15;
const TIME = /^(\d+(?:\.\d+)?)(s|ms|us|ns)$/;
const SECONDS: Readonly<Record<string, number>> = { s: 1, ms: 1e-3, us: 1e-6, ns: 1e-9 };

/** A moment as it is written: `0x100123`, `10ms`, `2e6` (cycles); null when it is none. */
export function momentOf(text: string, ticksPerSecond: number): Moment | null {
  if (/^0x[0-9a-f]+$/i.test(text)) {
    const address = Number(text);
    return address > 0xffffffff ? null : { address };
  }
  const time = TIME.exec(text);
  if (time !== null)
    return { ticks: Math.round(Number(time[1]) * (SECONDS[time[2] as string] as number) * ticksPerSecond) };
  const cycles = Number(text.replaceAll("_", ""));
  return text.trim() === "" || !Number.isFinite(cycles) || cycles < 0 ? null : { ticks: cycles * TICKS_PER_CYCLE };
}

export class InstructionTrace {
  readonly #session: Session;
  readonly #window: TraceWindow;
  readonly #write: (line: string) => void;
  readonly #disassembler = new Disassembler();
  #phase: "before" | "inside" | "behind";
  /** Lines written. */
  count = 0;

  constructor(session: Session, window: TraceWindow, write: (line: string) => void) {
    this.#session = session;
    this.#window = window;
    this.#write = write;
    this.#phase = window.from === undefined ? "inside" : "before";
  }

  /** Runs the session on, to `until` at the latest, and writes what is in the window. */
  run(until: number): End | null {
    if (this.#phase === "before") return this.#approach(until);
    if (this.#phase === "inside") return this.#step(until);
    return this.#session.run({ until });
  }

  #approach(until: number): End | null {
    const from = this.#window.from as Moment;
    const session = this.#session;
    const end =
      "address" in from
        ? session.run({ until, breakpoints: new Set([from.address]) })
        : session.run({ until: Math.min(until, from.ticks) });
    if (end?.kind === "breakpoint" || ("ticks" in from && session.now >= from.ticks)) this.#phase = "inside";
    return end?.kind === "breakpoint" ? null : end;
  }

  #step(until: number): End | null {
    const session = this.#session;
    const { to, count } = this.#window;
    let before = processorOf(session.machine);
    for (let n = 0; n < STEPS && session.now < until; n++) {
      if (this.count >= count || (to !== undefined && "ticks" in to && session.now >= to.ticks)) {
        this.#phase = "behind";
        break;
      }
      const cycles = Math.floor(session.now / TICKS_PER_CYCLE);
      const visits = session.machine.core.visits;
      const end = session.run({ until: Number.POSITIVE_INFINITY, step: true });
      const after = processorOf(session.machine);
      const executed = this.#executed(visits, before);
      for (const [at, linear] of executed.entries()) {
        const changes = at === executed.length - 1 ? changed(before, after) : "";
        this.#line(cycles, linear, linear === linearEip(before) ? before : after, changes);
      }
      if (to !== undefined && "address" in to && executed.includes(to.address)) this.#phase = "behind";
      if (end !== null) return end;
      if (this.#phase === "behind") break;
      before = after;
    }
    return null;
  }

  /** Linear addresses of what ran in a step: one, or more where something was delivered, or tried again by a monitor. */
  #executed(visits: number, before: CpuState): number[] {
    const { core } = this.#session.machine;
    const news = core.visits - visits;
    if (news === 0) return [linearEip(before)];
    return core
      .trail()
      .slice(-news)
      .filter((linear, at, all) => linear !== all[at - 1]);
  }

  #line(cycles: number, linear: number, state: CpuState, changes: string): void {
    const { machine } = this.#session;
    const eip = (linear - state.segmentBase(SEG.cs)) >>> 0;
    const place = `${String(cycles).padStart(12)}  ${state.cpl}  ${hex(state.selector(SEG.cs), 4)}:${hex(eip)}`;
    this.count++;
    this.#write(`${place}  ${this.#text(machine, linear, state, eip)}${changes}`.trimEnd());
  }

  #text(machine: Machine, linear: number, state: CpuState, eip: number): string {
    const bytes = readLinear(machine, state, linear, MAX_INSTRUCTION_BYTES);
    if (bytes.length === 0) return "(not readable)";
    const one = this.#disassembler.one(bytes, eip, codeBits(state));
    return `${bytesText(one.bytes).padEnd(24)}  ${one.text.padEnd(36)}`;
  }
}

const GENERAL = Object.entries(GPR);
const STATUS: readonly (keyof typeof FLAG)[] = ["CF", "PF", "AF", "ZF", "SF", "OF", "DF", "IF", "TF"];

/** `  ; eax=00000001 flags=ZF PF`: what differs, EIP aside. */
function changed(before: CpuState, after: CpuState): string {
  const parts = GENERAL.filter(([, cell]) => before.get(cell) !== after.get(cell)).map(
    ([name, cell]) => `${name}=${hex(after.get(cell))}`,
  );
  for (const [n, name] of SEGMENT_NAMES.slice(0, 6).entries()) {
    if (before.selector(n) !== after.selector(n)) parts.push(`${name}=${hex(after.selector(n), 4)}`);
  }
  if (before.flags !== after.flags) {
    const set = STATUS.filter((flag) => (after.flags & FLAG[flag]) !== 0);
    parts.push(`flags=${set.length === 0 ? "-" : set.join(",")}`);
  }
  return parts.length === 0 ? "" : `  ; ${parts.join(" ")}`;
}
