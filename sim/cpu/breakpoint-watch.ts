/**
 * The debug registers' breakpoints as the core watches for them. They cost nothing while DR7 enables none: data breakpoints
 * keep their pages out of the MMU's fast table, instruction breakpoints end blocks before them (SDM vol. 3, 17.3).
 */
import type { Mmu } from "./mmu.ts";
import type { PhysicalEnvironment } from "./physical-environment.ts";
import { BLOCKING, CELL, type CpuState, FLAG, raise, VECTOR } from "./state.ts";
import {
  breakpointWatches,
  dataBreakpointPage,
  ENABLED_BREAKPOINT,
  instructionBreakpoints,
  portBreakpoints,
  WATCHES,
} from "./system/breakpoints.ts";

export class BreakpointWatch {
  readonly #state: CpuState;
  readonly #mmu: Mmu;
  readonly #env: PhysicalEnvironment;
  /** What enabled breakpoints look at, WATCHES. */
  watches = 0;
  /** The pages of data breakpoints as the MMU knows them. */
  readonly #pages = [-1, -1, -1, -1];

  constructor(state: CpuState, mmu: Mmu, env: PhysicalEnvironment) {
    this.#state = state;
    this.#mmu = mmu;
    this.#env = env;
  }

  /** Takes over changed debug registers; breakpoints that the last instruction met become pending. */
  look(): void {
    const state = this.#state;
    const watches = breakpointWatches(state);
    if ((watches | this.watches) !== 0) {
      this.watches = watches;
      const pages = this.#pages;
      let changed = false;
      for (let n = 0; n < pages.length; n++) {
        const page = dataBreakpointPage(state, n);
        if (page !== pages[n]) changed = true;
        pages[n] = page;
      }
      if (changed) this.#mmu.watch(pages);
      this.#env.onPort = (watches & WATCHES.PORTS) === 0 ? null : this.#onPort;
    }
    const met = state.get(CELL.breakpointsMet);
    if (met === 0) return;
    state.set(CELL.breakpointsMet, 0);
    state.set(CELL.pendingDebug, state.get(CELL.pendingDebug) | met | ENABLED_BREAKPOINT);
  }

  readonly #onPort = (port: number, bytes: number): void => {
    const state = this.#state;
    state.set(CELL.breakpointsMet, state.get(CELL.breakpointsMet) | portBreakpoints(state, port, bytes));
  };

  /**
   * Whether an instruction breakpoint faults before anything of the instruction at `linear` is done (SDM vol. 3,
   * 17.3.1.1); not with RF, not right after MOV SS or POP SS, and not within a string instruction.
   */
  breaksAt(linear: number): boolean {
    const state = this.#state;
    const met = instructionBreakpoints(state, linear);
    if (met === 0 || (state.flags & FLAG.RF) !== 0 || state.get(CELL.repeating) !== 0) return false;
    if ((state.get(CELL.interruptibility) & BLOCKING.MOV_SS) !== 0) return false;
    raise(state, VECTOR.DB);
    state.signal.address = met;
    return true;
  }
}
