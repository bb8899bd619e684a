/**
 * Performing a VM exit (SDM vol. 3, 28): exit information and guest state are written to the VMCS, host state is
 * loaded, the MSR lists are worked off, the TLB is flushed. Also the way back from a VM entry that failed late (27.8).
 */
import { type Environment, FLUSH } from "../environment.ts";
import { ACTIVITY, CELL, type CpuState, NO_ERROR_CODE } from "../state.ts";
import { INTERRUPTION } from "./controls.ts";
import {
  type ExitInformation,
  interruptionInformation,
  keepsPendingDebug,
  savedRflags,
  type VmxEvent,
} from "./exits.ts";
import { FIELD, type VmcsField } from "./fields.ts";
import { loadMsrList, type MsrPort, storeMsrList } from "./msr-lists.ts";
import { loadHostState, loadPdpteRegisters, saveGuestState } from "./transitions.ts";
import type { PhysicalMemory, Vmcs } from "./vmcs.ts";

/** What transitions work on. */
export interface VmxHardware {
  readonly vmcs: Vmcs;
  readonly state: CpuState;
  readonly memory: PhysicalMemory;
  readonly env: Environment;
  readonly msrs: MsrPort;
}

/** VMX-abort indicators (28.7). */
export const ABORT = { saveGuestMsrs: 1, hostPdptes: 2, loadHostMsrs: 4 } as const;

/** Loads the MSRs of a list that two fields describe; 0, or the number of the entry that fails. */
export function loadMsrs(hardware: VmxHardware, address: VmcsField, count: VmcsField): number {
  const { vmcs, memory, msrs } = hardware;
  return loadMsrList(memory, vmcs.getAddress(address), vmcs.get(count), msrs);
}

/** A VMX abort leaves its indicator in the VMCS and shuts the processor down (28.7). */
function abort(hardware: VmxHardware, indicator: number): void {
  hardware.vmcs.abort = indicator;
  hardware.state.set(CELL.activity, ACTIVITY.SHUTDOWN);
}

function enterHost(hardware: VmxHardware): void {
  const { vmcs, state, env } = hardware;
  loadHostState(vmcs, state);
  if (!loadPdpteRegisters(vmcs, state, env.profile.physicalAddressBits)) abort(hardware, ABORT.hostPdptes);
  if (loadMsrs(hardware, FIELD.exitMsrLoadAddress, FIELD.exitMsrLoadCount) !== 0) abort(hardware, ABORT.loadHostMsrs);
  env.flushTlb(FLUSH.ALL);
  env.attention();
}

/** A VM exit. `delivering` is the event whose delivery it interrupts, or null. */
export function performExit(hardware: VmxHardware, exit: ExitInformation, delivering: VmxEvent | null): void {
  const { vmcs, state, memory, msrs, env } = hardware;
  env.charge("vmexit");
  vmcs.set(FIELD.exitReason, exit.reason);
  vmcs.set(FIELD.qualification, exit.qualification);
  vmcs.set(FIELD.exitInterruption, exit.interruption);
  vmcs.set(FIELD.exitErrorCode, exit.errorCode);
  vmcs.set(FIELD.exitInstructionInfo, exit.instructionInfo);
  vmcs.set(FIELD.guestLinearAddress, exit.guestLinear);
  let vectoring = 0;
  let vectoringErrorCode = 0;
  let length = exit.instructionLength;
  if (delivering !== null && exit.duringDelivery) {
    vectoring = interruptionInformation(delivering.type, delivering.vector, delivering.errorCode);
    if (delivering.errorCode !== NO_ERROR_CODE) vectoringErrorCode = delivering.errorCode;
    if (delivering.instructionLength !== 0) length = delivering.instructionLength;
  }
  vmcs.set(FIELD.idtVectoring, vectoring);
  vmcs.set(FIELD.idtVectoringErrorCode, vectoringErrorCode);
  vmcs.set(FIELD.exitInstructionLength, length);
  vmcs.set(FIELD.entryInterruption, vmcs.get(FIELD.entryInterruption) & ~INTERRUPTION.VALID);

  const pendingDebug = keepsPendingDebug(exit) ? state.get(CELL.pendingDebug) : 0;
  saveGuestState(vmcs, state, savedRflags(state.flags, exit), pendingDebug);
  const count = vmcs.get(FIELD.exitMsrStoreCount);
  if (storeMsrList(memory, vmcs.getAddress(FIELD.exitMsrStoreAddress), count, msrs) !== 0) {
    abort(hardware, ABORT.saveGuestMsrs);
    env.attention();
    return;
  }
  enterHost(hardware);
}

/** A VM entry that failed late: host state is loaded, no guest state saved, two fields written (27.8). */
export function performEntryFailure(hardware: VmxHardware, failure: ExitInformation): void {
  hardware.env.charge("vmexit");
  hardware.vmcs.set(FIELD.exitReason, failure.reason);
  hardware.vmcs.set(FIELD.qualification, failure.qualification);
  enterHost(hardware);
}
