/**
 * The guest, emulated: instruction after instruction, wherever the monitor cannot run it otherwise. Under VT-x of the
 * first generation that is real mode, big real mode and segment registers that are stale after a change of mode, until a
 * VM entry would take the guest (vtx/entry-conditions.ts). What an instruction does is the one interpreter's business,
 * what an event does the processor's own delivery code's; here is only what happens between instructions, in the order
 * of cpu/core.ts.
 *
 * Time: every instruction costs the monitor's steps (next, decode or look-up, emulate) and its memory references;
 * nothing is charged to the guest. An emulated instruction that completes counts as retired by the guest, in the
 * domain of its CPL, so that a guest's instructions are the same natively and here; those that an exit handler
 * completes for a running guest are not counted, as ever.
 *
 * Virtual devices act at the first instruction boundary at which the machine's clock has reached their deadline, as
 * in the processor. The physical timer is not needed here: the monitor looks itself.
 */
import type { Clock } from "../clock.ts";
import type { Accounts } from "../cpu/accounts.ts";
import { EventDelivery, type EventStop } from "../cpu/events.ts";
import { OP } from "../cpu/micro-ops.ts";
import { ACTIVITY, BLOCKING, CELL, type CpuState, FLAG, OUTCOME, raise, SEG, VECTOR } from "../cpu/state.ts";
import { breakpointWatches, ENABLED_BREAKPOINT, instructionBreakpoints, WATCHES } from "../cpu/system/breakpoints.ts";
import { virtualInterruptDue } from "../cpu/system/virtual8086.ts";
import type { VmxEvent } from "../cpu/vmx/exits.ts";
import type { Account, Ledger } from "../ledger.ts";
import type { ExitRecord } from "../observer.ts";
import type { RunEnd } from "../result.ts";
import {
  afterInstruction,
  type Before,
  beforeInstruction,
  DEBUG_TRAPS,
  type Emulator,
  type SavedDecoded,
} from "./emulate.ts";
import type { ExitLog } from "./exit-log.ts";
import type { GuestMemory } from "./guest-memory.ts";
import type { VirtualBoard } from "./monitor.ts";
import type { VirtualEnvironment } from "./virtual-environment.ts";

/** Whether a monitor can run the guest otherwise than by emulation. */
export interface RunConditions {
  /** Name of a condition that keeps it from that; null if none does. Free: callers charge a step. */
  obstacle(): string | null;
  save(): string | null;
  restore(name: string | null): void;
}

export interface EmulationParts {
  readonly virtual: CpuState;
  readonly env: VirtualEnvironment;
  readonly emulator: Emulator;
  readonly memory: GuestMemory;
  readonly board: VirtualBoard;
  readonly conditions: RunConditions;
  readonly ledger: Ledger;
  readonly accounts: Accounts;
  readonly log: ExitLog;
  /** Counters `emulation.*`. */
  readonly counts: Record<string, number>;
  /** Whether something ended the run: a device, or the emulation itself by `end`. */
  ended(): boolean;
  /** The instruction at this linear address begins. */
  visit(linear: number): void;
  /** Whether someone wants `run` to return at the next boundary. */
  paused(): boolean;
  end(end: RunEnd): void;
}

/** Why `run` returned: the monitor can run the guest; it executed HLT; a limit, or a pause; a breakpoint; the run has ended. */
export type EmulationStop = "enter" | "halt" | "limit" | "breakpoint" | "end";

/** A stretch of emulation from its beginning on. */
interface Stretch {
  /** Ticks at which it began. */
  readonly time: number;
  readonly cs: number;
  readonly eip: number;
  /** The condition that was not met, or what else was the reason. */
  readonly reason: string;
  /** Instructions emulated before it. */
  readonly first: number;
  /** It has been logged. */
  readonly recorded: boolean;
}

export interface SavedEmulation {
  readonly stretch: Stretch | null;
  readonly obstacle: string | null;
  readonly decoded: SavedDecoded;
}

export class GuestEmulation {
  readonly #parts: EmulationParts;
  readonly #events: EventDelivery;
  readonly #clock: Clock;
  readonly #user: Account;
  readonly #kernel: Account;
  /** Null while the guest is not emulated. */
  #stretch: Stretch | null = null;
  /** What the virtual devices said when they were last asked; `env.attends` and device accesses say when to ask again. */
  #deadline = 0;
  #interruptLine = false;
  #nmiLine = false;
  #deviceAccesses = -1;
  readonly #before: Before = { flags: 0, blocking: 0 };
  /** The condition for which instructions are emulated at present, and its counter. */
  #obstacle = "";
  #obstacleCounter = "";

  constructor(parts: EmulationParts) {
    this.#parts = parts;
    this.#events = new EventDelivery(parts.virtual, parts.env, null, () => undefined);
    this.#clock = parts.ledger.clock;
    this.#user = parts.accounts.byDomain["guest-user"].instructions;
    this.#kernel = parts.accounts.byDomain["guest-kernel"].instructions;
  }

  /** Whether the guest is emulated at present. */
  get active(): boolean {
    return this.#stretch !== null;
  }

  /**
   * The guest, all of whose registers are in the virtual processor, is emulated from now on; `event` is delivered
   * first.
   */
  begin(reason: string, event: VmxEvent | null): void {
    const { virtual, counts } = this.#parts;
    this.#stretch = {
      time: this.#clock.now,
      cs: virtual.selector(SEG.cs),
      eip: virtual.eip,
      reason,
      first: counts["emulation.instructions"] ?? 0,
      recorded: false,
    };
    this.#count("emulation.entries");
    if (event === null) return;
    this.#stopped(this.#deliver(() => this.#events.deliverInjected(event)));
  }

  /**
   * Emulates until the monitor can run the guest otherwise, the guest halts, or a limit is reached: ticks, instructions retired, an instruction
   * at one of the linear addresses of `breakpoints`.
   */
  run(until: number, instructions: number, breakpoints?: ReadonlySet<number>): EmulationStop {
    const { virtual, env, memory, conditions } = this.#parts;
    let left = instructions;
    env.attends = true;
    try {
      for (;;) {
        if (env.attends || memory.deviceAccesses !== this.#deviceAccesses) this.#look();
        if (this.#clock.now >= this.#deadline) {
          this.#parts.board.due(this.#clock.now);
          this.#look();
        }
        this.#lookAtBreakpoints();
        if (this.#parts.ended()) {
          this.#record();
          return "end";
        }
        if (this.#clock.now >= until || left <= 0 || this.#parts.paused()) return "limit";
        if (this.#takeEvent()) continue;
        if (virtual.get(CELL.activity) !== ACTIVITY.ACTIVE) {
          virtual.set(CELL.activity, ACTIVITY.ACTIVE);
          return "halt";
        }
        const starts = virtual.get(CELL.repeating) === 0;
        const linear = (virtual.segmentBase(SEG.cs) + virtual.eip) >>> 0;
        if (starts && breakpoints?.has(linear) === true) return "breakpoint";
        if (starts) {
          memory.do("emulate-next");
          const obstacle = conditions.obstacle();
          if (obstacle === null) return "enter";
          this.#parts.visit(linear);
          this.#because(obstacle);
        }
        env.deadline = Math.min(until, this.#deadline);
        left -= this.#instruction(starts);
      }
    } finally {
      env.deadline = Number.POSITIVE_INFINITY;
      env.watches = 0;
    }
  }

  /** The guest is entered: closes the account of this stretch. */
  finish(): void {
    this.#record();
    this.#stretch = null;
    this.#parts.emulator.forget();
  }

  /** Makes the stretch known, once, in the form of an exit whose qualification is the number of instructions. */
  #record(): void {
    const { log } = this.#parts;
    const record = this.open();
    if (record === null) return;
    this.#stretch = { ...(this.#stretch as Stretch), recorded: true };
    log.record(record);
  }

  /** The stretch that has not ended; null if there is none. */
  open(): ExitRecord | null {
    const stretch = this.#stretch;
    if (stretch === null || stretch.recorded) return null;
    return {
      time: stretch.time,
      reason: stretch.reason,
      cause: "real-mode-emulation",
      qualification: (this.#parts.counts["emulation.instructions"] ?? 0) - stretch.first,
      cs: stretch.cs,
      eip: stretch.eip,
      hardwareTicks: 0,
      monitorTicks: this.#clock.now - stretch.time,
    };
  }

  save(): SavedEmulation {
    const { conditions, emulator } = this.#parts;
    return { stretch: this.#stretch, obstacle: conditions.save(), decoded: emulator.save() };
  }

  restore(saved: SavedEmulation): void {
    this.#stretch = saved.stretch;
    this.#parts.conditions.restore(saved.obstacle);
    this.#parts.emulator.restore(saved.decoded);
  }

  /** Asks the virtual devices what is pending and when something falls due. */
  #look(): void {
    const { board, env, memory } = this.#parts;
    env.attends = false;
    this.#deviceAccesses = memory.deviceAccesses;
    this.#deadline = board.nextDeadline();
    this.#interruptLine = board.interruptLine;
    this.#nmiLine = board.nmiLine;
  }

  /** Takes over changed debug registers; breakpoints that the last instruction met become pending (cpu/core.ts). */
  #lookAtBreakpoints(): void {
    const { virtual, env } = this.#parts;
    env.watches = breakpointWatches(virtual);
    const met = virtual.get(CELL.breakpointsMet);
    if (met === 0) return;
    virtual.set(CELL.breakpointsMet, 0);
    virtual.set(CELL.pendingDebug, virtual.get(CELL.pendingDebug) | met | ENABLED_BREAKPOINT);
  }

  /** Whether an instruction breakpoint faults before anything of the instruction at CS:EIP is done (SDM vol. 3, 17.3.1.1). */
  #breaks(): boolean {
    const { virtual } = this.#parts;
    if ((virtual.flags & FLAG.RF) !== 0 || virtual.get(CELL.repeating) !== 0) return false;
    if ((virtual.get(CELL.interruptibility) & BLOCKING.MOV_SS) !== 0) return false;
    const met = instructionBreakpoints(virtual, (virtual.segmentBase(SEG.cs) + virtual.eip) >>> 0);
    if (met === 0) return false;
    raise(virtual, VECTOR.DB);
    virtual.signal.address = met;
    return true;
  }

  /** Takes the event of highest priority, if there is one (SDM vol. 3, table 6-2). */
  #takeEvent(): boolean {
    const { virtual } = this.#parts;
    const blocking = virtual.get(CELL.interruptibility);
    if ((virtual.get(CELL.pendingDebug) & DEBUG_TRAPS) !== 0 && (blocking & BLOCKING.MOV_SS) === 0) {
      return this.#take(() => this.#events.debugTrap());
    }
    if (this.#nmiLine && (blocking & (BLOCKING.NMI | BLOCKING.MOV_SS)) === 0) {
      return this.#take(() => {
        this.#parts.board.acknowledgeNmi();
        return this.#events.nmi();
      });
    }
    const open = (virtual.flags & FLAG.IF) !== 0 && (blocking & (BLOCKING.STI | BLOCKING.MOV_SS)) === 0;
    if (this.#interruptLine && open) {
      return this.#take(() => this.#events.external(this.#parts.board.acknowledgeInterrupt()));
    }
    return virtualInterruptDue(virtual) && this.#take(() => this.#events.fault(VECTOR.GP, 0, 0));
  }

  #take(event: () => EventStop | null): true {
    const { virtual, env } = this.#parts;
    // Between two iterations of a string instruction an event pushes RF = 1 (SDM vol. 3, 17.3.1.1).
    if (virtual.get(CELL.repeating) !== 0) virtual.flags |= FLAG.RF;
    virtual.set(CELL.repeating, 0);
    this.#stopped(this.#deliver(event));
    env.attends = true;
    return true;
  }

  #deliver(event: () => EventStop | "delivered" | null): EventStop | "delivered" | null {
    this.#parts.memory.do("deliver");
    this.#count("emulation.events");
    return event();
  }

  /** Fetches and runs the instruction at CS:EIP; returns how many retired. `starts`: it was not interrupted between iterations. */
  #instruction(starts: boolean): number {
    const { virtual, env, emulator, memory } = this.#parts;
    beforeInstruction(virtual, this.#before);
    const domain = virtual.cpl === 3 ? this.#user : this.#kernel;
    if ((env.watches & WATCHES.CODE) !== 0 && this.#breaks()) return this.#signalled(domain);
    const lifted = emulator.next();
    if (starts) {
      memory.do(emulator.found ? "decoded" : "decode");
      if (!emulator.found) this.#count("emulation.decoded");
    }
    if (lifted === null) return this.#signalled(domain);
    if (starts) memory.do("emulate");
    // A string instruction that has overwritten itself between iterations is not what goes on.
    else if (!lifted.ops.some(({ op }) => op === OP.STRING)) virtual.set(CELL.repeating, 0);
    emulator.run(lifted.ops);
    if (virtual.signal.outcome !== OUTCOME.NONE) return this.#signalled(domain);
    afterInstruction(virtual, this.#before, lifted.rule);
    return virtual.get(CELL.repeating) === 0 ? this.#retire(domain) : 0;
  }

  #retire(domain: Account): number {
    this.#parts.ledger.retire(domain);
    this.#count("emulation.instructions");
    return 1;
  }

  /** Acts on what an instruction left in the signal, as cpu/core.ts does; returns how many retired. */
  #signalled(domain: Account): number {
    const { virtual, env } = this.#parts;
    const { signal } = virtual;
    const outcome = signal.outcome;
    signal.outcome = OUTCOME.NONE;
    env.attends = true;
    // An instruction that has not completed will meet its breakpoints again.
    if (outcome !== OUTCOME.INTERRUPT) virtual.set(CELL.breakpointsMet, 0);
    if (outcome === OUTCOME.FAULT) {
      this.#stopped(this.#deliver(() => this.#events.fault(signal.vector, signal.errorCode, signal.address)));
      return 0;
    }
    if (outcome === OUTCOME.WAITS) return 0;
    if (outcome !== OUTCOME.INTERRUPT) {
      this.#stopped({ kind: "unmodelled", detail: signal.detail });
      return 0;
    }
    const { interruptKind, vector, length } = signal;
    const stop = this.#deliver(() => this.#events.software(interruptKind, vector, (virtual.eip + length) | 0, length));
    if (stop === "delivered") return this.#retire(domain);
    this.#stopped(stop);
    return 0;
  }

  #stopped(stop: EventStop | "delivered" | null): void {
    if (stop === null || stop === "delivered") return;
    const { virtual } = this.#parts;
    this.#parts.end({ ...stop, cs: virtual.selector(SEG.cs), eip: virtual.eip });
  }

  #count(name: string): void {
    const { counts } = this.#parts;
    counts[name] = (counts[name] ?? 0) + 1;
  }

  /** Counts an instruction by the condition for which it is emulated: `emulation.because.cr0-fixed-bits`. */
  #because(obstacle: string): void {
    if (obstacle !== this.#obstacle) {
      this.#obstacle = obstacle;
      const words = obstacle.toLowerCase().replace(/[^a-z0-9]+/g, "-");
      this.#obstacleCounter = `emulation.because.${words}`;
    }
    this.#count(this.#obstacleCounter);
  }
}
