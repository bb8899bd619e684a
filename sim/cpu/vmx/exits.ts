/**
 * What a VM exit records (SDM vol. 3, 28.2): the contents of the exit-information fields for each kind of exit, as a
 * value, before anything is written. Fields that an exit leaves undefined are 0 here.
 */
import { FLAG, NO_ERROR_CODE, VECTOR } from "../state.ts";
import { EVENT, INTERRUPTION } from "./controls.ts";
import { ENTRY_FAILURE, REASON } from "./reasons.ts";

/** An event in or before delivery: what VM entry injects, or what was being delivered when a VM exit came. */
export interface VmxEvent {
  /** One of `EVENT`. */
  readonly type: number;
  readonly vector: number;
  /** Error code, or NO_ERROR_CODE. */
  readonly errorCode: number;
  /** Bytes of the instruction that caused a software interrupt or exception; 0 for other types. */
  readonly instructionLength: number;
}

/** Everything that a VM exit writes about itself. */
export interface ExitInformation {
  /** The exit-reason field: basic reason, and bit 31 for a failed VM entry. */
  readonly reason: number;
  readonly qualification: number;
  /** VM-exit interruption information; 0 (not valid) for other exits. */
  readonly interruption: number;
  readonly errorCode: number;
  readonly instructionLength: number;
  readonly instructionInfo: number;
  readonly guestLinear: number;
  /** Whether an event whose delivery was under way belongs to the record (28.2.4). */
  readonly duringDelivery: boolean;
  /** A #DB that is a fault: delivered, it would push RF = 1. */
  readonly resume: boolean;
}

const NOTHING: ExitInformation = {
  reason: 0,
  qualification: 0,
  interruption: 0,
  errorCode: 0,
  instructionLength: 0,
  instructionInfo: 0,
  guestLinear: 0,
  duringDelivery: false,
  resume: false,
};

/** An exit that has nothing to say but its reason. */
export function plainExit(reason: number): ExitInformation {
  return { ...NOTHING, reason };
}

/** A failed VM entry (27.8): only reason and qualification are written. */
export function entryFailure(basicReason: number, qualification: number): ExitInformation {
  return { ...NOTHING, reason: (basicReason | ENTRY_FAILURE) >>> 0, qualification };
}

/** Reasons whose `exitDetail` is a guest-linear address; for other instructions it is instruction information. */
const LINEAR_DETAIL: readonly number[] = [REASON.ioInstruction, REASON.crAccess];

/** An exit that an instruction signalled (26.1). */
export function instructionExit(
  reason: number,
  qualification: number,
  detail: number,
  instructionLength: number,
): ExitInformation {
  const linear = LINEAR_DETAIL.includes(reason);
  return {
    ...NOTHING,
    reason,
    qualification,
    instructionLength,
    instructionInfo: linear ? 0 : detail,
    guestLinear: linear ? detail : 0,
    duringDelivery: true,
  };
}

/** The common format of interruption-information fields. */
export function interruptionInformation(type: number, vector: number, errorCode: number): number {
  const hasErrorCode = errorCode === NO_ERROR_CODE ? 0 : INTERRUPTION.ERROR_CODE;
  return (INTERRUPTION.VALID | hasErrorCode | (type << 8) | vector) >>> 0;
}

export interface ExceptionDetails {
  /** Length of INT3, INTO or INT1, which exit as software exceptions; 0 otherwise. */
  readonly instructionLength?: number;
  /** EVENT.softwareException (INT3, INTO) or EVENT.privilegedSoftwareException (INT1); absent for other exceptions. */
  readonly softwareKind?: number;
  /** The exception came from an IRET that had removed blocking by NMI (28.2.3). */
  readonly nmiUnblocking?: boolean;
  /** #DB by an instruction breakpoint or general detect, which is a fault. */
  readonly resume?: boolean;
}

/**
 * An exception that the exception bitmap intercepts. `address` is the linear address of a page fault, or the pending
 * debug conditions of #DB in the format of the exit qualification (table 28-1).
 */
export function exceptionExit(
  vector: number,
  errorCode: number,
  address: number,
  details: ExceptionDetails,
  delivering: boolean,
): ExitInformation {
  const qualified = vector === VECTOR.PF || vector === VECTOR.DB;
  // A double fault is not an exit during delivery, and both cases leave bit 12 undefined.
  const duringDelivery = vector !== VECTOR.DF;
  const unblocking = details.nmiUnblocking === true && duringDelivery && !delivering;
  const information = interruptionInformation(details.softwareKind ?? EVENT.hardwareException, vector, errorCode);
  return {
    ...NOTHING,
    reason: REASON.exceptionOrNmi,
    qualification: qualified ? address >>> 0 : 0,
    interruption: (information | (unblocking ? INTERRUPTION.NMI_UNBLOCKING : 0)) >>> 0,
    errorCode: errorCode === NO_ERROR_CODE ? 0 : errorCode,
    instructionLength: details.instructionLength ?? 0,
    duringDelivery,
    resume: details.resume === true,
  };
}

/** An NMI under NMI exiting. */
export function nmiExit(): ExitInformation {
  const interruption = interruptionInformation(EVENT.nmi, VECTOR.NMI, NO_ERROR_CODE);
  return { ...NOTHING, reason: REASON.exceptionOrNmi, interruption };
}

/** An external interrupt; `vector` is null unless it was acknowledged on exit. */
export function externalInterruptExit(vector: number | null): ExitInformation {
  const interruption = vector === null ? 0 : interruptionInformation(EVENT.externalInterrupt, vector, NO_ERROR_CODE);
  return { ...NOTHING, reason: REASON.externalInterrupt, interruption };
}

/** Exceptions that are not faults; RF in the saved RFLAGS is as it was. #DB is a fault only with `resume`. */
const NOT_FAULTS: readonly number[] = [VECTOR.DB, VECTOR.BP, VECTOR.OF, VECTOR.DF, VECTOR.MC];

/** The RFLAGS image that an exit saves (28.3.3): RF is 1 for faults, 0 for instructions, otherwise unchanged. */
export function savedRflags(rflags: number, exit: ExitInformation): number {
  if (exit.reason === REASON.exceptionOrNmi) {
    const type = (exit.interruption >>> 8) & 7;
    const fault = type === EVENT.hardwareException && !NOT_FAULTS.includes(exit.interruption & 0xff);
    return fault || exit.resume ? rflags | FLAG.RF : rflags;
  }
  if (ASYNCHRONOUS.includes(exit.reason) || exit.reason === REASON.tripleFault || exit.reason === REASON.taskSwitch) {
    return rflags;
  }
  return rflags & ~FLAG.RF;
}

const ASYNCHRONOUS: readonly number[] = [REASON.externalInterrupt, REASON.interruptWindow, REASON.tprBelowThreshold];

/** Whether debug exceptions that are pending stay so in the guest's state (28.3.4); other exits drop them. */
export function keepsPendingDebug(exit: ExitInformation): boolean {
  const nmi = exit.reason === REASON.exceptionOrNmi && ((exit.interruption >>> 8) & 7) === EVENT.nmi;
  return nmi || ASYNCHRONOUS.includes(exit.reason);
}
