/** How a guest's end is told: nothing for success, otherwise one line that says what happened, where, and what to do. */
import type { RunEnd } from "../sim/result.ts";
import { Problem } from "./problem.ts";

/** The problem that an end is, null for a guest that exited with status 0 or switched its machine off. `name` says which run it was. */
export function problemOf(end: RunEnd, name: string, maxCycles: number): Problem | null {
  switch (end.kind) {
    case "power-off":
      return null;
    case "exit":
      if (end.status === 0) return null;
      return new Problem(
        "guest-failed",
        `${name}: the guest exited with status ${end.status}; its serial output says why (ringlab boot)`,
      );
    case "triple-fault":
      return new Problem(
        "triple-fault",
        `${name}: triple fault at ${place(end)}: ${end.detail}; see it happen with --gdb or --trace-instructions`,
      );
    case "dead-halt":
      return new Problem(
        "dead-halt",
        end.asleep === true
          ? `${name}: asleep at ${place(end)}, and no device will wake it; if it waits for input, send some (ringlab boot)`
          : `${name}: halted with interrupts off at ${place(end)}; nothing can wake it (end a guest by OUT to port F4h)`,
      );
    case "limit":
      return new Problem(
        "cycle-limit",
        `${name}: not done after ${maxCycles} cycles, at ${place(end)}; give it more with --max-cycles`,
      );
    case "breakpoint":
      throw new Error(`${name}: a run without a debugger stopped at a breakpoint, at ${place(end)}`);
    case "unmodelled":
      return new Problem(
        "unmodelled",
        `${name}: not modelled at ${place(end)}: ${end.detail}; docs/COVERAGE.md lists what is`,
      );
  }
}

function place({ cs, eip }: { readonly cs: number; readonly eip: number }): string {
  return `${cs.toString(16).padStart(4, "0")}:${eip.toString(16).padStart(8, "0")}`;
}
