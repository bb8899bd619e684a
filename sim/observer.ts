/**
 * What a run tells to whoever watches it. Observers never influence the machine: they see times and events and
 * charge nothing. The experiment runner, traces and tests are observers.
 */

/** Markers in guest code: long NOPs `0F 1F 84 00 disp32` with disp32 = 0x524C0000 | kind << 8 | region. */
export const MARKER_MAGIC = 0x524c;
export const MARKER_KINDS = {
  regionBegin: 1,
  regionEnd: 2,
  baselineBegin: 3,
  baselineEnd: 4,
  iteration: 5,
} as const;

/** One VM exit as the monitor saw it. */
export interface ExitRecord {
  /** Ticks at which the exit was complete and the monitor began. */
  readonly time: number;
  /** Mechanism's own name of the basic exit reason, e.g. "exception-or-nmi". */
  readonly reason: string;
  /** Technique-neutral cause, e.g. "shadow-fault", "guest-page-fault", "port-io". */
  readonly cause: string;
  readonly qualification: number;
  readonly cs: number;
  readonly eip: number;
  /** Ticks of hardware transition (exit and the entry that followed). */
  readonly hardwareTicks: number;
  /** Ticks of monitor software between them, VMREAD and VMWRITE included. */
  readonly monitorTicks: number;
}

export interface Observer {
  /** A marker was executed at `now` (ticks). */
  marker?(kind: number, region: number, now: number): void;
  /** An exit was handled. */
  exit?(record: ExitRecord): void;
}
