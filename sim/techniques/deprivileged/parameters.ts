/** What can be varied of the classical monitor. */
import type { ParameterInfo } from "../parameters.ts";

export interface ClassicalParameters {
  /** RDTSC: the processor's own, or a trap and the monitor's answer (CR4.TSD), as a monitor needs it that has a virtual clock. */
  readonly tsc: "direct" | "trap";
}

export const CLASSICAL_PARAMETERS: readonly ParameterInfo[] = [
  {
    name: "tsc",
    description: "RDTSC reads the processor's counter, or traps and is emulated",
    usual: "direct",
    words: ["direct", "trap"],
  },
];
