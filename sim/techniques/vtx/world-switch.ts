/**
 * From the guest to the monitor and back: VM exits, what follows them, VM entries, the emulator where VT-x cannot enter,
 * and sleep while the guest is in HLT. Every exit: 7 registers saved, ten fields read by VMREAD, the handler, virtual
 * devices and interrupts looked after, an event in delivery re-injected, changed fields written by VMWRITE, registers
 * restored, VMRESUME.
 *
 * The monitor runs with IA32_EFER.NXE set where there is execute-disable, and so does its guest, whose own IA32_EFER is
 * the virtual processor's alone: VT-x of the first generation does not switch it, and the shadow tables make up for
 * what the guest has there (KVM did the same; Xen wrote the MSR between guests).
 */
import { costTicks, type Profile } from "../../cpu/profiles/profile.ts";
import { CELL, CR0, EFER, FLAG } from "../../cpu/state.ts";
import { executeDisable } from "../../cpu/system/msr.ts";
import { FIELD } from "../../cpu/vmx/fields.ts";
import { exitReasonName, REASON } from "../../cpu/vmx/reasons.ts";
import { EVERYTHING } from "../emulate.ts";
import type { EmulationStop } from "../guest-emulation.ts";
import type { GuestCpu, TechniqueLimits } from "../monitor.ts";
import { fixedControls, writeControls } from "./controls.ts";
import { isInjectable } from "./event-injection.ts";
import { SAVED_REGISTERS } from "./guest-registers.ts";
import { handleExit } from "./handlers.ts";
import { GATE } from "./host-world.ts";
import type { MonitorParts } from "./wiring.ts";

export class WorldSwitch {
  readonly #parts: MonitorParts;

  constructor(parts: MonitorParts) {
    this.#parts = parts;
  }

  /** The machine's loader: the monitor's world, its registers, and the guest's registers in the processor. */
  bringUp(): void {
    const { core, guest, world } = this.#parts;
    const { revision } = core.env.profile.vmx as NonNullable<Profile["vmx"]>;
    world.build(revision);
    const state = core.state;
    guest.putProcessorRegisters();
    world.enter(state);
    state.set(CELL.featureControl, 5);
    state.set(CELL.efer, executeDisable(state, core.env.profile) ? EFER.NXE : 0);
    core.mmu.pagingChanged();
  }

  /** VMXON, VMCLEAR, VMPTRLD; every field of the VMCS; VMLAUNCH stands ready. */
  start(): void {
    const { controls, core, ledger, port, status, timer, vmcs, world } = this.#parts;
    port.service = ledger.account("monitor", "service:start");
    this.#execute("begin");
    timer.enable();
    const fixed = fixedControls(core.env.profile);
    controls.begin(fixed.processorBased);
    writeControls((field, value) => vmcs.write(field, value), fixed, world);
    status.launched = true;
    this.#enterFirst();
  }

  /** All of the guest's state goes into the VMCS, and the guest runs, or sleeps. */
  #enterFirst(): void {
    const { conditions, controlRegisters, controls, guest, status, virtual, vmcs } = this.#parts;
    guest.writeAll();
    vmcs.write(FIELD.guestActivity, 0);
    vmcs.write(FIELD.guestPendingDebug, virtual.get(CELL.pendingDebug));
    controlRegisters.translationChanged();
    controlRegisters.write();
    controls.writeTscOffset();
    const obstacle = conditions.obstacle();
    if (obstacle !== null) this.#beginEmulation(obstacle);
    if (status.halted) this.#idle();
    else if (obstacle === null) this.#resume();
  }

  /** Has the core execute a stub that ends in the gate page. */
  #execute(stub: "begin"): void {
    const { core, world } = this.#parts;
    core.state.eip = world.stub(stub);
    const stop = core.run({ until: Number.POSITIVE_INFINITY });
    const succeeded = (core.state.flags & (FLAG.CF | FLAG.ZF)) === 0;
    if (stop.kind === "monitor-entry" && stop.offset === GATE.done && succeeded) return;
    throw new Error(`vtx monitor: ${stub} failed: ${JSON.stringify(stop)}`);
  }

  /** Whatever the guest was about to do, its processor begins again; the monitor is where it enters the guest. */
  reset(atBoundary: () => GuestCpu): void {
    const { emulation, events, guest, ledger, port, status, virtual, vmcs } = this.#parts;
    status.resetTo = null;
    if (emulation.active) emulation.finish();
    virtual.restore(atBoundary().cpu);
    status.halted = false;
    events.pending = null;
    port.service = ledger.account("monitor", "service:start");
    guest.putProcessorRegisters();
    vmcs.write(FIELD.entryInterruption, 0);
    this.#enterFirst();
  }

  entered(offset: number): void {
    const { core, ledger, port, timer, vmcs, vmx, world } = this.#parts;
    if (offset === GATE.exit) {
      this.#exit();
    } else if (offset === GATE.done) {
      const error = vmcs.read(FIELD.instructionError);
      throw new Error(`vtx monitor: VM entry failed, error ${error} (${vmx.failedCheck ?? "no check"})`);
    } else {
      port.service = ledger.account("monitor", "service:interrupt");
      timer.interrupted();
      world.enter(core.state);
      this.#idle();
    }
  }

  #exit(): void {
    const {
      core,
      events,
      guest,
      guestMemory,
      handlers,
      ledger,
      log,
      port,
      snapshot,
      status,
      virtual,
      vmcs,
      vmx,
      world,
    } = this.#parts;
    const time = ledger.clock.now;
    port.service = ledger.account("monitor", "service:exit");
    guestMemory.do("dispatch");
    for (const [n, cell] of SAVED_REGISTERS.entries()) {
      port.write(world.data + n * 4, 4, core.state.get(cell));
    }
    guestMemory.do("snapshot");
    snapshot.reason = vmcs.read(FIELD.exitReason);
    snapshot.qualification = vmcs.read(FIELD.qualification);
    snapshot.interruption = vmcs.read(FIELD.exitInterruption);
    snapshot.errorCode = vmcs.read(FIELD.exitErrorCode);
    snapshot.idtVectoring = vmcs.read(FIELD.idtVectoring);
    snapshot.instructionLength = vmcs.read(FIELD.exitInstructionLength);
    events.pending = null;
    guest.begin();
    const { eip } = virtual;
    const cs = vmx.lastExit?.cs ?? 0;

    const reason = exitReasonName(snapshot.reason);
    if (vmx.failedCheck !== null) throw new Error(`vtx monitor: VM entry failed: ${vmx.failedCheck}`);
    const cause = handleExit(handlers);
    port.service = ledger.account("monitor", "service:exit");
    if (status.end === null) this.#afterExit();
    const hardware = costTicks(core.env.profile);
    log.record({
      time,
      reason,
      cause,
      qualification: snapshot.qualification,
      cs,
      eip,
      hardwareTicks: hardware.vmexit + hardware.vmentry,
      monitorTicks: ledger.clock.now - time,
    });
  }

  /** Devices, interrupts, injection, and back into the guest or to sleep. */
  #afterExit(): void {
    const { events, handlers, status } = this.#parts;
    if (handlers.delivered !== true) events.reinject();
    handlers.delivered = false;
    // The trap of single step on HLT wakes the guest at once.
    if (events.pending !== null) status.halted = false;
    const obstacle = this.#obstacle();
    if (obstacle !== null) this.#beginEmulation(obstacle);
    if (status.halted) this.#idle();
    else if (obstacle === null) this.#enterGuest();
  }

  /**
   * Why VT-x cannot run the guest on after an exit; null if it can. The state in which the guest was left was enterable:
   * it still is unless protected mode ended, or a handler has had all registers in its hands.
   */
  #obstacle(): string | null {
    const { conditions, events, guest, virtual } = this.#parts;
    if (events.pending !== null && !isInjectable(events.pending)) return "event injection: error code";
    if ((virtual.cr0 & CR0.PE) !== 0 && !guest.complete && !conditions.always) return null;
    guest.require(EVERYTHING);
    return conditions.obstacle();
  }

  /** The guest is emulated from here on; an event that an entry would have injected comes first. */
  #beginEmulation(reason: string): void {
    const { emulation, events, guest, ledger, port, snapshot } = this.#parts;
    guest.require(EVERYTHING);
    guest.requirePendingDebug();
    // No exit is being handled any more.
    Object.assign(snapshot, { reason: REASON.interruptWindow, interruption: 0, idtVectoring: 0 });
    port.service = ledger.account("monitor", "service:emulation");
    const event = events.pending;
    events.pending = null;
    emulation.begin(reason, event);
  }

  /** Emulates until something else must be done; says what ended it. */
  emulate(limits: TechniqueLimits, instructions: number): EmulationStop {
    const { emulation, ledger, port, status } = this.#parts;
    port.service = ledger.account("monitor", "service:emulation");
    const stop = emulation.run(limits.until, instructions, limits.breakpoints);
    if (stop === "halt") {
      status.halted = true;
      this.#idle();
    } else if (stop === "enter") {
      emulation.finish();
      this.#enterGuest();
    }
    return stop;
  }

  /** Into the guest; or, for an NMI, whose blocking this hardware cannot track, into its emulation. */
  #enterGuest(): void {
    const { controlRegisters, controls, events, guest, guestMemory, port, world } = this.#parts;
    if (!events.prepareEntry()) {
      this.#beginEmulation("an NMI to deliver");
      return;
    }
    controlRegisters.catchUp();
    controlRegisters.write();
    controls.writeTscOffset();
    guest.commit();
    guestMemory.do("resume");
    for (const n of SAVED_REGISTERS.keys()) port.read(world.data + n * 4, 4);
    this.#resume();
  }

  /** The core goes on with VMLAUNCH the first time (a guest may begin asleep, so not always from the start), then VMRESUME. */
  #resume(): void {
    const { core, status, world } = this.#parts;
    core.state.eip = world.stub(status.entries === 0 ? "launch" : "resume");
    status.entries++;
  }

  /** The guest is in HLT: wakes it when an interrupt is due, else sleeps until one may be. */
  #idle(): void {
    const { board, core, emulation, guestMemory, ledger, status, timer, virtual, world } = this.#parts;
    const now = ledger.clock.now;
    if (board.nextDeadline() <= now) board.due(now);
    const open = (virtual.flags & FLAG.IF) !== 0;
    if ((board.interruptLine && open) || board.nmiLine) {
      status.halted = false;
      if (!emulation.active) this.#enterGuest();
      return;
    }
    const next = board.nextDeadline();
    if (!open) {
      status.end = { ...this.#parts.place(), kind: "dead-halt" };
      return;
    }
    guestMemory.do("halt");
    timer.arm(next);
    core.state.eip = world.stub("halt");
  }
}
