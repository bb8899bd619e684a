/** The form of an entry in the instruction tables: what an instruction does, and the facts that monitors and tests need. */
import type { CostName } from "../profiles/profile.ts";
import { BLOCKING, CELL, type CpuState, FLAG } from "../state.ts";
import type { Lifter } from "./lifter.ts";

/**
 * Privilege that an instruction needs: CPL 0; a CPL not above IOPL, or for ports the I/O permission bitmap (SDM vol. 1,
 * 19.5); CPL 0 only while CR4 says so (RDTSC with CR4.TSD, RDPMC without CR4.PCE).
 */
export type Privilege = "cpl0" | "iopl" | "cr4";

export interface Rule {
  /**
   * Cost of the instruction proper; memory operands add `load` and `store` unless `memoryIncluded`. Null where the
   * helper charges by what happened (delivery, IRET, VMX, strings).
   */
  readonly cost: CostName | null;
  readonly lift: (l: Lifter) => void;
  readonly memoryIncluded?: boolean;
  /** Status flags that the manual leaves undefined after it (for some operands at least). */
  readonly undefinedFlags?: number;
  /** What it raises #GP(0) without. */
  readonly privileged?: Privilege;
  /** Depends on or changes processor state without trapping when de-privileged (Robin & Irvine 2000, section 3). */
  readonly sensitive?: boolean;
  /** Basic VM-exit reason that it causes, or may cause, in VMX non-root operation (SDM vol. 3, 26.1). */
  readonly exits?: string;
  /** No instruction of the same block may follow: mode, privilege, flags or code may have changed. */
  readonly endsBlock?: boolean;
  /** The interrupt shadow that it begins (BLOCKING of state.ts: STI, MOV SS), which is not cleared after it. */
  readonly setsShadow?: number;
  /** Does nothing but raise #UD. */
  readonly raisesUndefined?: boolean;
  /** Loads RF itself (IRET), so that RF is not cleared after it. */
  readonly loadsRf?: boolean;
}

/**
 * Ends the interrupt shadow that was in force (`shadow`, bits of BLOCKING) while an instruction executed. MOV SS under
 * a shadow begins one of its own; STI under blocking by STI does not, for IF was set already.
 */
export function endShadow(state: CpuState, shadow: number, rule: Partial<Rule> | null): void {
  const begins = rule?.setsShadow ?? 0;
  const kept = begins === BLOCKING.STI && (shadow & BLOCKING.STI) !== 0 ? 0 : begins;
  state.set(CELL.interruptibility, state.get(CELL.interruptibility) & ~(shadow & ~kept));
}

export type RuleTable = Readonly<Record<string, Rule>>;

const { CF, PF, AF, ZF, SF, OF } = FLAG;
/** Common sets of undefined flags. */
export const UNDEFINED = {
  AF,
  OF,
  OF_AF: OF | AF,
  MULTIPLY: SF | ZF | AF | PF,
  ALL: CF | PF | AF | ZF | SF | OF,
  BIT_TEST: OF | SF | AF | PF,
  BIT_SCAN: CF | OF | SF | AF | PF,
} as const;
