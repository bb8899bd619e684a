/**
 * What each arrival in the monitor means. Exceptions that the shadow tables or the limits of segments caused are the
 * monitor's; those that the guest's own processor would have raised go to the guest; privileged instructions and
 * accesses that cannot be made directly are executed for it.
 */
import { HELPER_NUMBER } from "../../cpu/helpers.ts";
import { microOp, OP } from "../../cpu/micro-ops.ts";
import { CELL, CR0, INTERRUPT_KIND, NO_ERROR_CODE, VECTOR } from "../../cpu/state.ts";
import { SINGLE_STEP } from "../emulate.ts";
import { TIMER_VECTOR } from "../physical-timer.ts";
import type { Frame } from "./arrival.ts";
import type { Completion } from "./completion.ts";
import { CALL_OUT_VECTOR, INT_BYTES } from "./layout.ts";
import type { DeprivilegedParts } from "./parts.ts";

/** An arrival in the gate page. */
export interface Arrival {
  /** Vector through which it came; null by SYSENTER. */
  readonly vector: number | null;
  /** What the hardware pushed; null by SYSENTER, which pushes nothing. */
  readonly frame: Frame | null;
  /** Linear address of a page fault; the vector of others. */
  readonly detail: number;
  /** From translated code. */
  readonly translated: boolean;
  /** The virtual processor holds the guest's precise state. */
  precise: boolean;
  makePrecise(): void;
}

interface Handled {
  readonly reason: string;
  readonly cause: string;
}

const NAMES: Readonly<Record<number, string>> = {
  [VECTOR.DE]: "#DE",
  [VECTOR.DB]: "#DB",
  [VECTOR.BR]: "#BR",
  [VECTOR.UD]: "#UD",
  [VECTOR.NM]: "#NM",
  [VECTOR.TS]: "#TS",
  [VECTOR.NP]: "#NP",
  [VECTOR.SS]: "#SS",
  [VECTOR.GP]: "#GP",
  [VECTOR.PF]: "#PF",
  [VECTOR.MF]: "#MF",
  [VECTOR.AC]: "#AC",
  [VECTOR.XM]: "#XM",
};

const SYSENTER_BYTES = 2;

export function handle(arrival: Arrival, parts: DeprivilegedParts, completion: Completion): Handled {
  const { vector, frame } = arrival;
  if (vector === null || frame === null) return systemCall(arrival, completion);
  if (vector === TIMER_VECTOR) {
    parts.timer.interrupted();
    return { reason: "external interrupt", cause: "physical-interrupt" };
  }
  if (vector >= 0x20) return softwareInterrupt(arrival, vector, frame, parts, completion);
  const reason = NAMES[vector];
  if (reason === undefined) throw new Error(`monitor: vector ${vector}, which nothing of the guest can cause`);
  return { reason, cause: exception(arrival, vector, frame, parts, completion) };
}

function systemCall(arrival: Arrival, completion: Completion): Handled {
  arrival.makePrecise();
  // The place of the instruction is lost, and not needed: what can fault on SYSENTER has been asked before.
  const helper = microOp(OP.HELPER, { imm: HELPER_NUMBER.sysenter });
  completion.run({
    ops: [microOp(OP.BEGIN, { x: SYSENTER_BYTES }), helper, microOp(OP.END_BRANCH)],
    rule: { cost: null, lift: () => undefined },
  });
  return { reason: "SYSENTER", cause: "sysenter" };
}

/** INT n of the guest's own code, or a call-out of translated code. */
function softwareInterrupt(
  arrival: Arrival,
  vector: number,
  frame: Frame,
  parts: DeprivilegedParts,
  completion: Completion,
): Handled {
  const { virtual, events, translator } = parts;
  arrival.makePrecise();
  if (arrival.translated && vector === CALL_OUT_VECTOR) {
    const wish = (translator as NonNullable<typeof translator>).callOut(frame.eip - INT_BYTES);
    const cause = wish.kind === "instruction" ? completion.instruction(wish.cause, true) : wish.cause;
    return { reason: "call-out", cause };
  }
  virtual.eip = (frame.eip - INT_BYTES) >>> 0;
  completion.deliver(() => events.software(INTERRUPT_KIND.SOFTWARE, vector, frame.eip, INT_BYTES));
  return { reason: "INT n", cause: "software-interrupt" };
}

function exception(
  arrival: Arrival,
  vector: number,
  frame: Frame,
  parts: DeprivilegedParts,
  completion: Completion,
): string {
  const { virtual, translator, core } = parts;
  if (vector === VECTOR.PF) return pageFault(arrival, frame, parts, completion);
  arrival.makePrecise();
  switch (vector) {
    case VECTOR.DB:
      // Only the trap of TF that the guest's own code has set: breakpoints are never in the processor.
      core.state.set(CELL.dr6, 0);
      virtual.set(CELL.pendingDebug, SINGLE_STEP);
      completion.deliver(() => parts.events.debugTrap());
      return "single-step";
    case VECTOR.GP:
    case VECTOR.SS:
    case VECTOR.NP:
    case VECTOR.TS: {
      if (arrival.translated) translator?.faulted("beyond-limit");
      return completion.instruction("beyond-limit");
    }
    case VECTOR.MF:
      // With the guest's CR0.NE clear the error goes another way, which the emulator's x87 knows.
      if ((virtual.cr0 & CR0.NE) === 0) return completion.instruction("numeric-error");
      break;
    default:
  }
  completion.fault(vector, vector === VECTOR.AC ? frame.errorCode : NO_ERROR_CODE, 0);
  return "guest-exception";
}

function pageFault(arrival: Arrival, frame: Frame, parts: DeprivilegedParts, completion: Completion): string {
  const { guestMemory, shadow, translator, counts } = parts;
  const linear = arrival.detail;
  guestMemory.do("page-fault");
  const fault = shadow.fault(linear, frame.errorCode);
  if (fault.kind === "hidden") return "hidden-page-fault";
  arrival.makePrecise();
  if (fault.kind === "guest") {
    counts["fault.injected"] = (counts["fault.injected"] ?? 0) + 1;
    completion.fault(VECTOR.PF, fault.errorCode, linear);
    return "guest-page-fault";
  }
  const cause = { "traced-write": "traced-write", device: "device-memory", region: "beyond-limit" }[fault.kind];
  if (arrival.translated) translator?.faulted(cause, { linear, physical: fault.address });
  completion.instruction(cause);
  return cause;
}
