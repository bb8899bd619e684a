/**
 * One physical processor: fetch, execute, take events at instruction boundaries. `run` returns a value when the
 * machine's owner must act; it never calls a monitor and never throws for what a guest does.
 *
 * At a boundary, in order of priority (SDM vol. 3, table 6-2): alarms of devices, an event that VM entry injects,
 * traps on the previous instruction, NMI, interrupt-window exit, external interrupts, and only then the next fetch.
 */
import type { Alarms } from "../clock.ts";
import type { Account, Ledger } from "../ledger.ts";
import type { PhysicalMemory } from "../memory/physical.ts";
import { Accounts, type DomainAccounts } from "./accounts.ts";
import { BreakpointWatch } from "./breakpoint-watch.ts";
import type { Bus } from "./bus.ts";
import { type Block, CodeCache } from "./code-cache.ts";
import { CodeFetch } from "./code-fetch.ts";
import { EXIT, MODE, TO_THE_CORE, TRANSFER_USER, transferMode } from "./engine/contract.ts";
import { Engine } from "./engine/engine.ts";
import { ORIGIN } from "./engine/fast-transfers.ts";
import { GUARD } from "./engine/layout.ts";
import type { EnginePolicy } from "./engine/policy.ts";
import { FLUSH } from "./environment.ts";
import { EventDelivery } from "./events.ts";
import { execute } from "./interpreter.ts";
import { endShadow } from "./lift/rule.ts";
import { OP } from "./micro-ops.ts";
import { Mmu } from "./mmu.ts";
import { PhysicalEnvironment } from "./physical-environment.ts";
import type { SavedPredictor } from "./predictor.ts";
import type { Profile } from "./profiles/profile.ts";
import {
  ACTIVITY,
  BLOCKING,
  CELL,
  CpuState,
  FLAG,
  INTERRUPT_KIND,
  modeName,
  NO_ERROR_CODE,
  OUTCOME,
  raise,
  type SavedState,
  SEG,
  VECTOR,
} from "./state.ts";
import { ENABLED_BREAKPOINT, instructionBreakpointWithin, WATCHES } from "./system/breakpoints.ts";
import { DR6_BT } from "./system/tasks.ts";
import { virtualInterruptDue } from "./system/virtual8086.ts";
import { VmcsMemory } from "./vmx/vmcs-memory.ts";
import { type SavedVmx, Vmx } from "./vmx/vmx.ts";

/** Why `run` returned. */
export type Stop =
  /** Control arrived at CPL 0 in the monitor's gate page, at this offset; the hardware has done what leads there. */
  | { readonly kind: "monitor-entry"; readonly offset: number }
  /** The clock reached `until`, or the instruction budget is spent. */
  | { readonly kind: "limit" }
  /** `requestStop` was called by a device. */
  | { readonly kind: "requested" }
  /** The next instruction is at one of `RunLimits.breakpoints`; it has not begun. */
  | { readonly kind: "breakpoint" }
  | { readonly kind: "unmodelled"; readonly detail: string }
  | { readonly kind: "triple-fault"; readonly detail: string }
  /** HLT, and nothing can wake the processor. */
  | { readonly kind: "dead-halt" };

export interface RunLimits {
  /** Ticks at which to stop, at the first boundary that reaches it. */
  readonly until: number;
  /** Instructions to execute at most; for tests, runs one instruction at a time. */
  readonly instructions?: number;
  /**
   * Linear addresses before whose instructions to stop, for debuggers: the guest's, not the monitor's. They are not
   * the guest's debug registers, leave no trace in its memory, and never change a result.
   */
  readonly breakpoints?: ReadonlySet<number>;
}

export interface CoreParts {
  readonly index: number;
  readonly memory: PhysicalMemory;
  readonly bus: Bus;
  readonly ledger: Ledger;
  readonly alarms: Alarms;
  readonly profile: Profile;
  /** Seed of the TLBs' replacement. */
  readonly seed: number;
  /** Longest block in instructions; never changes a result. */
  readonly maxBlock: number;
  /** When hot code is compiled; null: never. Never changes a result. */
  readonly engine?: EnginePolicy | null;
}

/** Everything of a core that is not in memory. */
export interface SavedCore {
  readonly state: SavedState;
  readonly mmu: ReturnType<Mmu["save"]>;
  readonly predictor: SavedPredictor;
  readonly vmx: SavedVmx | null;
}

/** DR6.BS: the trap of single step; in the same place in pending debug exceptions. */
const SINGLE_STEP = 1 << 14;
/** Pending debug exceptions that are a trap; B0 to B3 alone, of breakpoints that are not enabled, are not (vol. 3, 27.7.3). */
const DEBUG_TRAPS = SINGLE_STEP | ENABLED_BREAKPOINT | DR6_BT;
const LIMIT: Stop = { kind: "limit" };
/** A power of two. */
const TRAIL = 16;
const BREAKPOINT: Stop = { kind: "breakpoint" };

export class Core {
  readonly state: CpuState;
  readonly mmu: Mmu;
  readonly vmx: Vmx | null;
  readonly env: PhysicalEnvironment;
  readonly accounts: Accounts;
  readonly code: CodeCache;
  readonly fetch: CodeFetch;
  /** Host-physical page number of the monitor's gate page, -1 without a monitor. */
  gatePage = -1;
  /** Under a monitor that runs its guest de-privileged: what runs at CPL 0 is the monitor, and nothing else. */
  monitorAtRing0 = false;
  /** Whether `run` is under way: what happens now the processor does, or a device. */
  running = false;
  readonly #bus: Bus;
  readonly #ledger: Ledger;
  readonly #alarms: Alarms;
  readonly #events: EventDelivery;
  readonly #idle: Account;
  readonly #user: DomainAccounts;
  readonly #kernel: DomainAccounts;
  readonly #monitor: DomainAccounts;
  readonly #ramBytes: number;
  #until = Number.POSITIVE_INFINITY;
  /** The alarms' deadline, as long as `env.devicesMoved` is false. */
  #alarm = 0;
  #budget = Number.POSITIVE_INFINITY;
  #stopRequested = false;
  readonly #watch: BreakpointWatch;
  /** Null when there are none, so that a run without them pays one comparison a block. */
  #breakpoints: ReadonlySet<number> | null = null;
  /** Linear addresses at which code was entered lately, a ring; kept for whoever looks at a guest that stopped. */
  readonly #trail = new Uint32Array(TRAIL);
  /** Entries into the guest's code so far: the newest are in `trail`. */
  visits = 0;
  readonly #engine: Engine | null;
  /** Compiled code has left to what the interpreter must run. */
  #interpretNext = false;
  /** Why `run` returns, found between two instructions of compiled code. */
  #stop: Stop | null = null;
  /** A region was entered that does not fit the segment registers. */
  #unfit = false;

  constructor(parts: CoreParts) {
    const { memory, profile, ledger } = parts;
    this.state = new CpuState(memory.buffer, memory.stateOffset(parts.index));
    this.accounts = new Accounts(ledger, memory.buffer, memory.engineArea.core);
    this.mmu = new Mmu({
      state: this.state,
      memory,
      bus: parts.bus,
      ledger,
      accounts: this.accounts,
      profile,
      seed: parts.seed,
    });
    this.env = new PhysicalEnvironment({
      memory,
      profile,
      mmu: this.mmu,
      bus: parts.bus,
      ledger,
      accounts: this.accounts,
    });
    this.vmx =
      profile.vmx === null
        ? null
        : new Vmx({ state: this.state, memory: new VmcsMemory(memory), profile, env: this.env });
    this.env.vmx = this.vmx;
    this.#watch = new BreakpointWatch(this.state, this.mmu, this.env);
    const policy = parts.engine ?? null;
    this.env.bulk = policy !== null;
    this.code = new CodeCache(memory, profile, parts.maxBlock, policy === null);
    this.env.accountOfString = () => {
      const { current } = this.accounts;
      const linear = (this.state.segmentBase(SEG.cs) + this.state.eip) >>> 0;
      return this.code.accountOfLinear(linear, current === this.#user) ?? current.instructions;
    };
    this.fetch = new CodeFetch({
      ...{ state: this.state, memory, bus: parts.bus },
      ...{ mmu: this.mmu, code: this.code, accounts: this.accounts },
    });
    memory.onCodeWrite = (address, bytes) => {
      if (this.code.invalidate(address, bytes)) this.env.attention();
    };
    this.#events = new EventDelivery(this.state, this.env, this.vmx, () => this.#enterDomain());
    this.#engine =
      policy === null
        ? null
        : new Engine({
            memory,
            state: this.state,
            stateOffset: memory.stateOffset(parts.index),
            env: this.env,
            mmu: this.mmu,
            ledger,
            accounts: this.accounts,
            code: this.code,
            profile,
            policy,
            boundaries: {
              next: () => this.#nextMode(),
              signalled: (account) => {
                if (!this.#deliveredQuietly(account)) this.#stop = this.#signalled(account);
                return this.#stop === null ? this.#nextMode() : TO_THE_CORE;
              },
              interpret: (why) => this.#interpretFor(why),
              fetch: (mode) => this.#fetchFor(mode),
              quietUnderSti: () => this.#quietUnderSti(),
            },
          });
    this.#events.fast = this.#engine?.transfers ?? null;
    this.#bus = parts.bus;
    this.#ledger = ledger;
    this.#alarms = parts.alarms;
    this.#idle = ledger.account("idle", "halted");
    this.#user = this.accounts.byDomain["guest-user"];
    this.#kernel = this.accounts.byDomain["guest-kernel"];
    this.#monitor = this.accounts.byDomain.monitor;
    this.#ramBytes = memory.ramBytes;
  }

  /** Makes `run` return at the next boundary; devices call it (debug exit). */
  requestStop(): void {
    this.#stopRequested = true;
    this.env.attention();
  }

  /** Runs until something must be done by others. */
  run(limits: RunLimits): Stop {
    this.running = true;
    const stop = this.#run(limits);
    this.running = false;
    return stop;
  }

  #run(limits: RunLimits): Stop {
    this.#until = limits.until;
    this.#budget = limits.instructions ?? Number.POSITIVE_INFINITY;
    this.#breakpoints = limits.breakpoints === undefined || limits.breakpoints.size === 0 ? null : limits.breakpoints;
    const clock = this.#ledger.clock;
    this.env.devicesChanged();
    for (;;) {
      if (clock.now >= clock.deadline) {
        const stop = this.#boundary();
        if (stop !== null) return stop;
      }
      if (this.#engine?.due === true) this.#engine.compile();
      const stop = this.#step();
      if (stop !== null) return stop;
    }
  }

  /** Takes up the state of a processor that has been reset (reset.ts), at an instruction boundary. */
  reset(state: SavedState): void {
    this.vmx?.reset();
    this.state.restore(state);
    this.mmu.flushTlb(FLUSH.ALL);
    this.#enterDomain();
  }

  /** Whether an event is being delivered. */
  get delivering(): boolean {
    return this.#events.delivering;
  }

  /** Linear addresses at which the guest's code was entered lately, oldest first: block by block, or by instructions. */
  trail(): number[] {
    const count = Math.min(this.visits, TRAIL);
    return Array.from({ length: count }, (_, n) => this.#trail[(this.visits - count + n) & (TRAIL - 1)] as number);
  }

  /** An instruction of the guest is emulated. */
  visit(linear: number): void {
    this.#trail[this.visits++ & (TRAIL - 1)] = linear;
  }

  save(): SavedCore {
    return {
      state: this.state.save(),
      mmu: this.mmu.save(),
      predictor: this.env.predictor.save(),
      vmx: this.vmx?.save() ?? null,
    };
  }

  restore(saved: SavedCore): void {
    this.state.restore(saved.state);
    this.mmu.restore(saved.mmu);
    this.env.predictor.restore(saved.predictor);
    this.code.clear();
    this.#engine?.clear();
    if (saved.vmx !== null) this.vmx?.restore(saved.vmx);
    this.#enterDomain();
  }

  /** Whose code runs next, by CPL; in VMX root operation under a monitor it is the monitor's. */
  #enterDomain(): void {
    const root = this.gatePage >= 0 && this.vmx !== null && this.vmx.inOperation && this.vmx.nonRoot === null;
    const inMonitor = this.monitorAtRing0 ? this.state.cpl === 0 : root;
    this.accounts.current = inMonitor ? this.#monitor : this.state.i32[CELL.cpl] === 3 ? this.#user : this.#kernel;
  }

  /** Whether what runs is the guest's, as far as privilege tells. */
  #inGuest(): boolean {
    if (this.monitorAtRing0) return this.state.cpl !== 0;
    return this.gatePage < 0 || (this.vmx !== null && this.vmx.nonRoot !== null);
  }

  /** Everything that happens between instructions; null when the next one may run. */
  #boundary(): Stop | null {
    const clock = this.#ledger.clock;
    const state = this.state;
    for (;;) {
      if (this.#stopRequested) {
        this.#stopRequested = false;
        return { kind: "requested" };
      }
      if (clock.now >= this.#nextAlarm()) {
        this.#alarms.fire(clock.now);
        this.env.devicesMove();
      }
      this.#watch.look();
      if (clock.now >= this.#until || this.#budget <= 0) return LIMIT;
      const activity = state.get(CELL.activity);
      if (activity === ACTIVITY.SHUTDOWN) return { kind: "triple-fault", detail: "processor is shut down" };
      this.#enterDomain();
      const stop = this.#takeEvent();
      if (stop === "taken") {
        state.set(CELL.repeating, 0);
        state.set(CELL.monitorArmed, 0);
        continue;
      }
      if (stop !== null) return stop;
      if (virtualInterruptDue(state)) {
        const fault = this.#events.fault(VECTOR.GP, 0, 0);
        if (fault !== null) return fault;
        continue;
      }
      if (state.get(CELL.activity) === ACTIVITY.HLT) {
        if (this.#idleUntilDeadline()) continue;
        return { kind: "dead-halt" };
      }
      clock.deadline = Math.min(this.#until, this.#nextAlarm());
      return null;
    }
  }

  /** When the next device has something due, in ticks; devices are asked again only after one of them has changed. */
  #nextAlarm(): number {
    if (this.env.devicesMoved) {
      this.env.devicesMoved = false;
      this.#alarm = this.#alarms.earliest();
    }
    return this.#alarm;
  }

  /** Takes the event of highest priority, if there is one. */
  #takeEvent(): Stop | "taken" | null {
    const state = this.state;
    if (state.get(CELL.repeating) === 0) return this.#takeFirstEvent();
    // Between two iterations of a string instruction: an event, or the exit it causes, sees RF = 1 (SDM vol. 3,
    // 17.3.1.1 and 27.3.3), so that a breakpoint on the instruction does not trigger again.
    const flags = state.flags;
    state.flags |= FLAG.RF;
    const stop = this.#takeFirstEvent();
    if (stop === null) state.flags = flags;
    return stop;
  }

  #takeFirstEvent(): Stop | "taken" | null {
    const state = this.state;
    const vmx = this.vmx;
    if (vmx !== null) {
      if (vmx.injection !== null) return this.#events.inject() ?? "taken";
      if (vmx.exitTprBelowThreshold()) return "taken";
    }
    const blocking = state.get(CELL.interruptibility);
    if ((state.get(CELL.pendingDebug) & DEBUG_TRAPS) !== 0 && (blocking & BLOCKING.MOV_SS) === 0) {
      return this.#events.debugTrap() ?? "taken";
    }
    if (this.#bus.nmiLine && (blocking & (BLOCKING.NMI | BLOCKING.MOV_SS)) === 0) {
      this.#bus.acknowledgeNmi();
      this.env.devicesMove();
      if (vmx?.exitNmi() === true) return "taken";
      return this.#events.nmi() ?? "taken";
    }
    if (vmx?.exitInterruptWindow() === true) return "taken";
    if (this.#bus.interruptLine) {
      this.env.devicesMove();
      if (vmx?.exitExternalInterrupt(() => this.#bus.acknowledgeInterrupt()) === true) return "taken";
      const open = (state.flags & FLAG.IF) !== 0 && (blocking & (BLOCKING.STI | BLOCKING.MOV_SS)) === 0;
      if (open) return this.#events.external(this.#bus.acknowledgeInterrupt()) ?? "taken";
    }
    return null;
  }

  /** In HLT: time passes to the next alarm, charged to idle. False when nothing can wake the processor. */
  #idleUntilDeadline(): boolean {
    const clock = this.#ledger.clock;
    const wakes = (this.state.flags & FLAG.IF) !== 0 || this.vmx?.nonRoot != null;
    const alarm = this.#nextAlarm();
    if (!wakes || alarm === Number.POSITIVE_INFINITY) return false;
    const deadline = Math.min(this.#until, alarm);
    if (deadline > clock.now) this.#ledger.charge(this.#idle, deadline - clock.now);
    return true;
  }

  /** Runs one block, or one instruction where something must be looked at after it. */
  #step(): Stop | null {
    const state = this.state;
    const i32 = state.i32;
    const user = i32[CELL.cpl] === 3;
    // The fetch is the business of whoever fetches, not of who transferred control here.
    if (user !== (this.accounts.current === this.#user) || this.monitorAtRing0) {
      this.#enterDomain();
    }
    const eip = i32[CELL.rip] as number;
    const linear = (state.segmentBase(SEG.cs) + (eip >>> 0)) >>> 0;
    if (this.#breakpoints !== null && this.#stopsAt(linear)) return BREAKPOINT;
    if (this.#inGuest()) this.#trail[this.visits++ & (TRAIL - 1)] = linear;
    const watched = (this.#watch.watches & WATCHES.CODE) !== 0;
    if (watched && this.#watch.breaksAt(linear)) return this.#signalled(null);
    const limit = state.segmentLimit(SEG.cs);
    if (eip >>> 0 > limit) {
      raise(state, VECTOR.GP, 0);
      return this.#signalled(null);
    }
    const physical = this.mmu.fetch(linear, user);
    if (physical < 0) return this.#signalled(null);
    if (physical >>> 12 === this.gatePage && i32[CELL.cpl] === 0)
      return { kind: "monitor-entry", offset: physical & 0xfff };

    const flags = state.flags;
    const blocking = state.get(CELL.interruptibility) & (BLOCKING.STI | BLOCKING.MOV_SS);
    const traps = (flags & FLAG.TF) !== 0;
    const resumes = (flags & FLAG.RF) !== 0;
    let single = traps || resumes || blocking !== 0 || this.#budget !== Number.POSITIVE_INFINITY;
    let block = this.fetch.block(physical, linear, user, single);
    if (block === null) return this.#signalled(null);
    // A string instruction that has overwritten itself between iterations is not what goes on.
    if (i32[CELL.repeating] !== 0 && block.ops[1]?.op !== OP.STRING) i32[CELL.repeating] = 0;
    if (this.#breakpoints !== null && !single && this.#stopsWithin(linear, block.bytes)) {
      single = true;
      block = this.fetch.block(physical, linear, user, true) as Block;
    }
    if (watched && !single && instructionBreakpointWithin(state, linear, block.bytes)) {
      single = true;
      block = this.fetch.block(physical, linear, user, true) as Block;
    }
    if (limit !== 0xffffffff && (eip >>> 0) + block.bytes - 1 > limit) {
      // Some instruction of the block runs past the limit: one at a time, so that it is the one to fault.
      if (!single) block = this.fetch.block(physical, linear, user, true) as Block;
      single = true;
      if ((eip >>> 0) + block.bytes - 1 > limit) {
        raise(state, VECTOR.GP, 0);
        return this.#signalled(null);
      }
    }
    const clock = this.#ledger.clock;
    if (resumes) state.set(CELL.resumeLoaded, 0);
    // With TF set each iteration of a string instruction is a step of its own.
    if (traps) clock.deadline = 0;
    if (single) {
      this.#interpretNext = false;
      this.#unfit = false;
      if (resumes && !traps && blocking === 0) this.#warm(physical, linear, user);
    } else if (this.#compiledCode(block, linear, user)) {
      if (this.#stop !== null) {
        const stop = this.#stop;
        this.#stop = null;
        return stop;
      }
      return null;
    }
    if (block.kind === "code") execute(block.ops, 0, block.account, state, this.env, this.#ledger);
    else this.#notCode(block);

    if (single) this.#afterSingle(block, traps, resumes, blocking);
    if (state.signal.outcome !== OUTCOME.NONE) return this.#signalled(block.account);
    return null;
  }

  /**
   * Between an instruction of compiled code and the next: does what is due, and tells the mode in which compiled code may
   * go on; TO_THE_CORE when `#step` must look at the next instruction, or `#stop` is set.
   */
  #nextMode(): number {
    const clock = this.#ledger.clock;
    if (clock.now >= clock.deadline) {
      this.#stop = this.#boundary();
      if (this.#stop !== null) return TO_THE_CORE;
    }
    const { state, accounts } = this;
    const { i32 } = state;
    const user = i32[CELL.cpl] === 3;
    const flags = i32[CELL.rflags] as number;
    if ((flags & (FLAG.TF | (user ? FLAG.AC : 0))) !== 0 || this.#watch.watches !== 0) return TO_THE_CORE;
    if (((i32[CELL.interruptibility] as number) & (BLOCKING.STI | BLOCKING.MOV_SS)) !== 0) return TO_THE_CORE;
    if ((this.#engine as Engine).due) return TO_THE_CORE;
    if ((flags & FLAG.RF) !== 0) i32[CELL.resumeLoaded] = 0;
    if (user !== (accounts.current === this.#user)) this.#enterDomain();
    if (accounts.current === this.#monitor) return TO_THE_CORE;
    this.#shareGuard();
    return transferMode(this.fetch.modeIndex(user ? MODE.USER : MODE.KERNEL, false), user);
  }

  #shareGuard(): void {
    const stops = this.#watch.watches !== 0 || (this.#engine as Engine).due;
    const intercepts = this.vmx !== null && this.vmx.nonRoot !== null;
    const monitor = this.monitorAtRing0 || (this.gatePage >= 0 && !intercepts);
    this.env.guard((intercepts ? GUARD.INTERCEPTS : 0) | (stops ? GUARD.STOPS : 0) | (monitor ? GUARD.MONITOR : 0));
  }

  /**
   * Delivers what an instruction of compiled code has signalled, where the boundary behind the delivery would have
   * nothing to do: no shadow ends, no VM exit is possible, nothing is pending. False: nothing has happened.
   */
  #deliveredQuietly(account: Account): boolean {
    const { state } = this;
    const { signal, i32 } = state;
    const engine = this.#engine;
    if (engine === null || this.vmx?.nonRoot != null || i32[CELL.interruptibility] !== 0) return false;
    const flags = i32[CELL.rflags] as number;
    if ((flags & FLAG.VIP) !== 0) return false;
    // The instruction may have changed CPL before it faulted.
    this.#enterDomain();
    const { vector, errorCode } = signal;
    if (signal.outcome === OUTCOME.FAULT) {
      // Whatever an instruction raises is a fault, but for #DB.
      if (vector === VECTOR.DB) return false;
      if (!engine.transfers.enter(vector, ORIGIN.EXCEPTION, errorCode, state.eip, flags | FLAG.RF)) return false;
      if (vector === VECTOR.PF) state.set(CELL.cr2, signal.address);
    } else if (signal.outcome === OUTCOME.INTERRUPT && signal.interruptKind === INTERRUPT_KIND.SOFTWARE) {
      const next = (state.eip + signal.length) | 0;
      if (!engine.transfers.enter(vector, ORIGIN.SOFTWARE, NO_ERROR_CODE, next, flags & ~FLAG.RF)) return false;
      this.#ledger.retire(account);
    } else return false;
    signal.outcome = OUTCOME.NONE;
    this.#enterDomain();
    return true;
  }

  /** The same for the boundary between STI, which has asked for attention, and the instruction in its shadow. */
  #quietUnderSti(): boolean {
    const { state } = this;
    const { clock } = this.#ledger;
    if (this.env.devicesMoved || this.#stopRequested || this.#bus.nmiLine || this.vmx?.nonRoot != null) return false;
    if ((state.flags & (FLAG.TF | FLAG.VIP)) !== 0 || state.get(CELL.pendingDebug) !== 0) return false;
    const deadline = Math.min(this.#until, this.#alarm);
    if (clock.now >= deadline) return false;
    clock.deadline = deadline;
    return true;
  }

  /**
   * What compiled code leaves to the interpreter: an instruction that has begun, before whose end no boundary comes, or
   * whatever is at EIP; then as `#nextMode`.
   */
  #interpretFor(why: number): number {
    if (why === EXIT.LEFT) return this.#nextMode();
    const { clock } = this.#ledger;
    if (why !== EXIT.BEGUN && clock.now >= clock.deadline) return this.#nextMode();
    this.#interpretNext = true;
    this.#stop = this.#step();
    return this.#stop === null ? this.#nextMode() : TO_THE_CORE;
  }

  /** The fetch that `#step` makes, for compiled code that is about to go on in `mode`. */
  #fetchFor(mode: number): number {
    const { state } = this;
    const { eip } = state;
    if (eip > state.segmentLimit(SEG.cs)) return TO_THE_CORE;
    const user = (mode & TRANSFER_USER) !== 0;
    if (this.mmu.fetch((state.segmentBase(SEG.cs) + eip) >>> 0, user) < 0) {
      if (!this.#deliveredQuietly(this.accounts.current.instructions)) this.#stop = this.#signalled(null);
      return this.#stop === null ? this.#nextMode() : TO_THE_CORE;
    }
    // The fetch may have taken the time up to the deadline: the instruction has begun.
    const { clock } = this.#ledger;
    return clock.now >= clock.deadline ? this.#interpretFor(EXIT.BEGUN) : mode;
  }

  /** Counts code that is entered with RF set, whose first instruction runs alone, as if it were not. */
  #warm(physical: number, linear: number, user: boolean): void {
    const engine = this.#engine;
    if (engine === null || this.#breakpoints !== null || this.#watch.watches !== 0 || physical >= this.#ramBytes)
      return;
    const mode = this.fetch.mode(physical, user, false);
    const block = this.code.lookup(physical, mode) ?? this.code.lift(physical, -1, mode);
    if (block === "second-page" || block.kind !== "code" || block.compiled !== null) return;
    if (mode.bits === 32) engine.ran(block, linear, user);
  }

  /** Whether a breakpoint holds the instruction at `linear`; the rest of a string instruction has been let through. */
  #stopsAt(linear: number): boolean {
    return (
      this.#inGuest() && this.state.get(CELL.repeating) === 0 && (this.#breakpoints as ReadonlySet<number>).has(linear)
    );
  }

  /** Whether a breakpoint lies behind the first byte of the block at `linear`. */
  #stopsWithin(linear: number, bytes: number): boolean {
    for (const address of this.#breakpoints as ReadonlySet<number>) {
      if (address > linear && address < linear + bytes) return true;
    }
    return false;
  }

  /** What the engine has done so far, with dotted names. */
  engineStatistics(): Readonly<Record<string, number>> {
    return this.#engine?.statistics() ?? {};
  }

  /** Runs the compiled region that begins here, if there is one and nothing asks for the interpreter; whether it did. */
  #compiledCode(block: Block, linear: number, user: boolean): boolean {
    const engine = this.#engine;
    if (engine === null || this.#breakpoints !== null || this.#watch.watches !== 0) return false;
    if (this.#ledger.onCharge !== null) return false;
    if (block.kind !== "code") return false;
    if (this.#interpretNext) {
      this.#interpretNext = false;
      if (this.#unfit) engine.unfit(block);
      this.#unfit = false;
      return false;
    }
    const { state } = this;
    if (block.compiled === null) {
      if (block.mode.bits === 32) engine.ran(block, linear, user);
      return false;
    }
    if (user && (state.flags & FLAG.AC) !== 0) return false;
    // The fetch has taken the time up to the deadline: the instruction has begun, no boundary comes before its end.
    const { clock } = this.#ledger;
    if (clock.now >= clock.deadline) return false;
    this.#shareGuard();
    const exit = engine.enter(block.compiled.index);
    this.#unfit = exit === EXIT.UNFIT;
    this.#interpretNext = exit !== EXIT.LEFT;
    return true;
  }

  /** After an instruction that ran alone: the shadow and RF end, the trap of TF is pending. */
  #afterSingle(block: Block, traps: boolean, resumes: boolean, blocking: number): void {
    const state = this.state;
    this.env.attention();
    this.#budget--;
    if (state.signal.outcome !== OUTCOME.NONE) return;
    if (blocking !== 0) endShadow(state, blocking, block.last);
    // RF lasts until the last iteration of a string instruction.
    const loaded = block.last?.loadsRf === true || state.get(CELL.resumeLoaded) !== 0;
    const ended = !loaded && state.get(CELL.repeating) === 0;
    if (resumes && ended) state.flags &= ~FLAG.RF;
    if (traps) state.set(CELL.pendingDebug, state.get(CELL.pendingDebug) | SINGLE_STEP);
  }

  /** Bytes that are not an instruction of this processor, or not one that is modelled. */
  #notCode(block: Block): void {
    const state = this.state;
    if (block.kind === "unmodelled") {
      state.signal.outcome = OUTCOME.UNMODELLED;
      const where = `${digits(state.selector(SEG.cs), 4)}:${digits(state.eip, 8)}`;
      state.signal.detail = `instruction ${block.text} (${modeName(state)}, CPL ${state.cpl}) at ${where}`;
      return;
    }
    this.#ledger.charge(block.account, block.ticks);
    if (block.kind === "undefined") raise(state, VECTOR.UD);
    else raise(state, VECTOR.GP, 0);
  }

  /** Acts on what the instruction left in the signal. */
  #signalled(account: Account | null): Stop | null {
    const signal = this.state.signal;
    const outcome = signal.outcome;
    signal.outcome = OUTCOME.NONE;
    if (account === null) this.#budget--;
    this.env.attention();
    // An instruction that has not completed will meet its breakpoints again.
    if (outcome !== OUTCOME.INTERRUPT) this.state.set(CELL.breakpointsMet, 0);
    switch (outcome) {
      case OUTCOME.FAULT:
        return this.#events.fault(signal.vector, signal.errorCode, signal.address);
      case OUTCOME.INTERRUPT: {
        const stop = this.#events.software(
          signal.interruptKind,
          signal.vector,
          (this.state.eip + signal.length) | 0,
          signal.length,
        );
        if (stop === "delivered") {
          if (account !== null) this.#ledger.retire(account);
          return null;
        }
        return stop;
      }
      case OUTCOME.EXIT:
        signal.outcome = OUTCOME.EXIT;
        this.vmx?.exitInstruction(signal.length);
        return null;
      case OUTCOME.WAITS:
        return null;
      default:
        return { kind: "unmodelled", detail: signal.detail };
    }
  }
}

function digits(value: number, count: number): string {
  return value.toString(16).padStart(count, "0");
}
