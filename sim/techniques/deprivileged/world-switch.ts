/**
 * From a de-privileged guest to the monitor and back. The hardware's own delivery of an exception, an interrupt or INT n
 * through the monitor's IDT ends in the gate page; the way back is IRET in a stub, which the core executes. Between:
 * registers saved, the frame read, a handler (handlers.ts), virtual devices and interrupts looked after, registers
 * restored.
 */
import { costTicks } from "../../cpu/profiles/profile.ts";
import { BLOCKING, CELL, FLAG, GPR, RIGHTS, SEG, VECTOR } from "../../cpu/state.ts";
import { inVirtual8086 } from "../../cpu/system/checks.ts";
import { DEBUG_TRAPS } from "../emulate.ts";
import type { EmulationStop } from "../guest-emulation.ts";
import { guestPaging } from "../guest-paging.ts";
import type { GuestCpu, TechniqueLimits } from "../monitor.ts";
import { TIMER_VECTOR } from "../physical-timer.ts";
import {
  DATA_SEGMENTS,
  type Frame,
  processorFlags,
  readFrame,
  restoreGeneral,
  runningFrame,
  saveGeneral,
  takeRegisters,
  takeSegments,
} from "./arrival.ts";
import { Completion } from "./completion.ts";
import { type Arrival, handle } from "./handlers.ts";
import { CALL_OUT_VECTOR, GATE, INT_BYTES, REGION_PAGE, regionAddress, SELECTOR } from "./layout.ts";
import { type DeprivilegedParts, WHERE } from "./parts.ts";
import { descriptorSegment } from "./truncate.ts";

const SYSENTER_ENTRY = regionAddress(REGION_PAGE.gate) + GATE.sysenter;

export class WorldSwitch {
  readonly #parts: DeprivilegedParts;
  readonly #completion: Completion;

  constructor(parts: DeprivilegedParts) {
    this.#parts = parts;
    this.#completion = new Completion(parts);
  }

  /** The machine's loader: the monitor's region, and the registers with which it begins. */
  bringUp(): void {
    const { region, hardware, status, translator } = this.#parts;
    region.build(translator === null ? null : translator.runs(3) ? 3 : 1);
    hardware.begin();
    status.where = WHERE.NOWHERE;
    status.stale = true;
  }

  /** The monitor's first steps, and the guest's. */
  start(): void {
    const { ledger, port, status, timer } = this.#parts;
    port.service = ledger.account("monitor", "service:start");
    this.#activate();
    timer.enable();
    status.where = WHERE.HELD;
    this.#resume();
  }

  /** Whatever the guest was about to do, its processor begins again. */
  reset(atBoundary: () => GuestCpu): void {
    const { emulation, hardware, ledger, port, status, virtual } = this.#parts;
    status.resetTo = null;
    if (emulation.active) emulation.finish();
    // A reset from outside of the machine reaches a running guest as an interrupt of the monitor.
    hardware.takeBack();
    virtual.restore(atBoundary().cpu);
    status.stale = true;
    status.where = WHERE.HELD;
    port.service = ledger.account("monitor", "service:start");
    this.#resume();
  }

  /** Control has arrived in the gate page. */
  arrived(offset: number): void {
    const { core, guestMemory, ledger, log, port, region, status, timer, translator } = this.#parts;
    const time = ledger.clock.now;
    port.service = ledger.account("monitor", "service:exit");
    if (status.where === WHERE.ASLEEP) {
      timer.interrupted();
      status.where = WHERE.HELD;
      this.#resume();
      return;
    }
    let vector = offset === GATE.sysenter ? null : offset / GATE.bytesPerVector;
    guestMemory.do(status.translated && vector === CALL_OUT_VECTOR ? "call-out" : "dispatch");
    saveGeneral(port, region, core.state);
    status.where = WHERE.HELD;
    if (status.translated) translator?.left();
    let frame = vector === null ? null : readFrame(port, region, core.state, vector);
    let { flags } = core.state;
    if (frame?.cs === SELECTOR.code && vector === VECTOR.DB && frame.eip === SYSENTER_ENTRY) {
      // SYSENTER leaves TF set, and the trap comes before the first instruction here.
      flags = frame.flags;
      core.state.set(CELL.dr6, 0);
      vector = null;
      frame = null;
    }
    if (frame !== null && frame.cs === SELECTOR.code) {
      throw new Error(`monitor: vector ${vector} in the monitor itself, at ${frame.eip.toString(16)}`);
    }
    const arrival = this.#take(vector, frame, flags);
    const { cs, eip } = this.place();
    const { reason, cause } = handle(arrival, this.#parts, this.#completion);
    if (status.end === null) this.#goOn(arrival);
    log.record({
      time,
      reason,
      cause,
      qualification: arrival.detail,
      cs,
      eip,
      hardwareTicks: this.#hardwareTicks(vector),
      monitorTicks: ledger.clock.now - time,
    });
  }

  /** What the processor's delivery and return cost for an arrival. */
  #hardwareTicks(vector: number | null): number {
    const costs = costTicks(this.#parts.core.env.profile);
    const back = costs.iretOuter;
    if (vector === null) return costs.sysenter + back;
    if (vector === VECTOR.PF) return costs.pageFault + back;
    if (vector < 32) return costs.exception + back;
    return (vector === TIMER_VECTOR ? costs.interrupt : costs.intInner) + back;
  }

  /**
   * Takes the guest's registers over (without a frame, with these flags); of translated code only when a handler asks for a
   * precise state.
   */
  #take(vector: number | null, frame: Frame | null, flags: number): Arrival {
    const { core, descriptors, status, translator, virtual } = this.#parts;
    const hardware = core.state;
    const arrival: Arrival = {
      vector,
      frame,
      detail: vector === VECTOR.PF ? hardware.get(CELL.cr2) : (vector ?? 0),
      translated: status.translated,
      precise: false,
      makePrecise: () => {
        if (arrival.precise) return;
        arrival.precise = true;
        const at = frame ?? { ...runningFrame(hardware), flags, eip: virtual.eip, esp: virtual.get(GPR.esp) };
        takeRegisters(hardware, at, virtual);
        // What the delivery of a fault has set. A trap finds RF set between two iterations of a string instruction.
        if (vector !== null && vector < 0x20 && vector !== VECTOR.DB) virtual.flags &= ~FLAG.RF;
        // INT E0h itself is where translated code stands.
        const eip = vector === CALL_OUT_VECTOR ? at.eip - INT_BYTES : at.eip;
        if (status.translated) translator?.recover(eip, virtual);
        else takeSegments(hardware, frame, status.loaded, descriptors, virtual);
      },
    };
    if (!status.translated) arrival.makePrecise();
    return arrival;
  }

  /** CS:EIP of the guest as far as it is known without disturbing anything. */
  place(): { readonly cs: number; readonly eip: number } {
    const { virtual } = this.#parts;
    return { cs: virtual.selector(SEG.cs), eip: virtual.eip };
  }

  /** After a handler: back into the same code where nothing of the guest has changed, else where it is now. */
  #goOn(arrival: Arrival): void {
    const { board, status, translator } = this.#parts;
    if (arrival.precise || translator === null || arrival.frame === null || status.stale) {
      arrival.makePrecise();
      this.#resume();
      return;
    }
    this.#lookAtDevices();
    translator.devicesChanged();
    const interrupts = board.interruptLine && translator.takesInterrupt();
    if (status.end === null && !board.nmiLine && (!interrupts || translator.postpone(arrival.frame.eip))) {
      this.#return(arrival.frame, false);
      return;
    }
    arrival.makePrecise();
    this.#resume();
  }

  /** Lets virtual devices act. Where none was accessed, and nothing has fallen due, there is nothing to poll. */
  #lookAtDevices(): void {
    const { board, guestMemory, ledger, status } = this.#parts;
    const { now } = ledger.clock;
    const due = board.nextDeadline() <= now;
    const accessed = guestMemory.deviceAccesses !== status.deviceAccesses;
    status.deviceAccesses = guestMemory.deviceAccesses;
    guestMemory.do(due || accessed ? "events" : "events-test");
    if (due) board.due(now);
  }

  /** Lets virtual devices act, delivers what is due, and has the guest go on: in the processor, emulated, or asleep. */
  #resume(): void {
    const { board, conditions, events, status, virtual } = this.#parts;
    for (;;) {
      this.#lookAtDevices();
      if (status.end !== null || status.resetTo !== null) return;
      if (this.#trapDue()) {
        this.#completion.deliver(() => events.debugTrap());
        continue;
      }
      if (board.nmiLine) {
        virtual.set(CELL.activity, 0);
        this.#emulate("an NMI to deliver");
        return;
      }
      if (!board.interruptLine || !this.#open()) break;
      this.#completion.deliver(() => events.external(board.acknowledgeInterrupt()));
      if (status.end !== null) return;
    }
    if (virtual.get(CELL.activity) === 1) {
      this.#sleep();
      return;
    }
    virtual.set(CELL.activity, 0);
    const obstacle = conditions.obstacle();
    if (obstacle !== null) this.#emulate(obstacle);
    else this.#enter();
  }

  /** Whether the guest takes an external interrupt now. */
  #open(): boolean {
    const { virtual } = this.#parts;
    const blocked = (virtual.get(CELL.interruptibility) & (BLOCKING.STI | BLOCKING.MOV_SS)) !== 0;
    return !blocked && (virtual.flags & FLAG.IF) !== 0;
  }

  /** Whether the trap behind an instruction that was completed for the guest is to be delivered. */
  #trapDue(): boolean {
    const { virtual } = this.#parts;
    if ((virtual.get(CELL.pendingDebug) & DEBUG_TRAPS) === 0) return false;
    return (virtual.get(CELL.interruptibility) & BLOCKING.MOV_SS) === 0;
  }

  #emulate(reason: string): void {
    const { emulation, ledger, port } = this.#parts;
    port.service = ledger.account("monitor", "service:emulation");
    emulation.begin(reason, null);
  }

  /** Emulates until something else must be done; says what ended it. */
  emulate(limits: TechniqueLimits, instructions: number): EmulationStop {
    const { emulation, ledger, port, virtual } = this.#parts;
    port.service = ledger.account("monitor", "service:emulation");
    const stop = emulation.run(limits.until, instructions, limits.breakpoints);
    if (stop === "halt") {
      emulation.finish();
      virtual.set(CELL.activity, 1);
      this.#resume();
    } else if (stop === "enter") {
      emulation.finish();
      this.#resume();
    }
    return stop;
  }

  /** Into the guest's own code, or what was made from it. */
  #enter(): void {
    const { board, conditions, descriptors, hardware, status, translator, virtual } = this.#parts;
    const translated = translator?.runs(virtual.cpl) === true;
    const as8086 = !translated && inVirtual8086(virtual);
    const level = virtual.cpl === 3 ? 3 : 1;
    let eip = virtual.eip;
    if (status.stale) this.#activate();
    if (translated) {
      eip = (translator as NonNullable<typeof translator>).enter(board.interruptLine);
      if (eip < 0) {
        conditions.lackCode();
        this.#emulate("code that cannot be fetched");
        return;
      }
    }
    const targets: number[] = [];
    for (const segment of [SEG.cs, SEG.ss, ...DATA_SEGMENTS]) {
      const selector = virtual.selector(segment);
      const outer = !as8086 && (segment === SEG.cs || segment === SEG.ss);
      if (translated) targets[segment] = descriptors.slot(segment, level);
      else targets[segment] = outer ? (selector & ~3) | level : selector;
    }
    if (translated) {
      targets[SEG.cs] = level === 1 ? SELECTOR.cacheKernel : SELECTOR.cacheUser;
      targets[SEG.gs] = SELECTOR.dataPage;
    }
    status.translated = translated;
    status.loaded = targets;
    hardware.loadLdt(descriptors.ldtEntries);
    hardware.openSysenter((virtual.get(CELL.sysenterCs) & 0xfffc) !== 0);
    this.#return(
      {
        errorCode: 0,
        eip,
        cs: targets[SEG.cs] as number,
        flags: processorFlags(virtual.flags) | (as8086 ? FLAG.VM : 0),
        esp: virtual.get(GPR.esp),
        ss: targets[SEG.ss] as number,
        data: as8086 ? DATA_SEGMENTS.map((segment) => targets[segment] as number) : null,
      },
      true,
    );
  }

  /** The shadow of the guest's present address space becomes the active one. */
  #activate(): void {
    const { core, hardware, shadow, status, virtual } = this.#parts;
    status.stale = false;
    status.root = shadow.activate(guestPaging(virtual));
    // The pointer table is at the same address with other contents; and of a root that the processor still has, but that
    // was not the active one for a while, nobody has told what it lost.
    if (shadow.usesPae || (status.root | 0) !== (core.state.get(CELL.cr3) | 0)) hardware.loseAll();
  }

  /** The processor's control registers for the guest as it is, on the active root. */
  #load(): void {
    const { hardware, shadow, status, trapsTimeStamp, virtual } = this.#parts;
    const timeStampTraps = !status.translated && (trapsTimeStamp || virtual.getNumber(CELL.tscOffset) !== 0);
    hardware.load(virtual.cr0, virtual.cr4, status.root, shadow.usesPae, timeStampTraps);
  }

  /** The guest is in HLT: the processor sleeps until something may be due. */
  #sleep(): void {
    const { board, core, guestMemory, region, status, timer, virtual } = this.#parts;
    if ((virtual.flags & FLAG.IF) === 0) {
      status.end = { ...this.place(), kind: "dead-halt" };
      return;
    }
    // The monitor is where the shadow's root is: it may be the first one, or have gone while the guest was emulated.
    if (status.stale) this.#activate();
    this.#load();
    guestMemory.do("halt");
    timer.arm(board.nextDeadline());
    core.state.set(GPR.esp, region.stackTop);
    core.state.eip = region.stub("halt");
    status.where = WHERE.ASLEEP;
  }

  /**
   * Composes the frame, and the core goes on in the stub that returns by it. `restore`: the guest's registers come from
   * the virtual processor; else the processor still has them.
   */
  #return(frame: Frame, restore: boolean): void {
    const { board, core, guestMemory, port, region, status, timer, virtual } = this.#parts;
    timer.arm(board.nextDeadline());
    this.#load();
    guestMemory.do(status.translated ? "cache-enter" : "resume");
    const reload = restore && frame.data === null && DATA_SEGMENTS.some((segment) => this.#differs(segment));
    let at = region.stackTop;
    const push = (value: number): void => {
      at -= 4;
      port.write(region.hostOf(at), 4, value);
    };
    for (const selector of frame.data?.toReversed() ?? []) push(selector);
    for (const value of [frame.ss, frame.esp, frame.flags, frame.cs, frame.eip]) push(value);
    if (reload) for (const segment of [SEG.ds, SEG.es, SEG.fs, SEG.gs]) push(status.loaded[segment] as number);
    restoreGeneral(port, region, restore ? virtual : null, core.state);
    core.state.set(GPR.esp, this.#shifted(frame, at));
    core.state.eip = region.stub(reload ? "reload" : "resume");
    status.where = WHERE.RUNNING;
  }

  /**
   * ESP for a stub that returns by what is at `at`. IRET to a 16-bit stack loads SP alone and leaves in the upper half of ESP
   * the monitor's (SDM vol. 3, 6.14 has no word of it): so that is made the guest's, and the base of SS what makes up for it.
   */
  #shifted(frame: Frame, at: number): number {
    if (frame.data !== null) return at;
    const { descriptors, hardware } = this.#parts;
    const { rights } = descriptorSegment(...descriptors.shadowDescriptor(frame.ss));
    if ((rights & RIGHTS.DB) !== 0) return at;
    const esp = ((frame.esp & ~0xffff) | (at & 0xffff)) >>> 0;
    hardware.shiftStack((at - esp) >>> 0);
    return esp;
  }

  /** Whether a segment register of the processor does not hold what it is to hold. */
  #differs(segment: number): boolean {
    const { core, descriptors, status } = this.#parts;
    const selector = status.loaded[segment] as number;
    const { state } = core;
    if (state.selector(segment) !== selector) return true;
    if ((selector & 0xfffc) === 0 || selector === SELECTOR.dataPage) return false;
    const { base, limit, rights } = descriptorSegment(...descriptors.shadowDescriptor(selector));
    return (
      state.segmentBase(segment) !== base ||
      state.segmentLimit(segment) !== limit ||
      state.segmentRights(segment) !== rights
    );
  }
}
