/** The form of an entry in the instruction tables: what an instruction does, and the facts that monitors and tests need. */
import type { CostName } from "../profiles/profile.ts";
import { FLAG } from "../state.ts";
import type { Lifter } from "./lifter.ts";

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
  /** Raises #GP(0) outside CPL 0 (SDM vol. 2). */
  readonly privileged?: boolean;
  /** Depends on or changes processor state without trapping when de-privileged (Robin & Irvine 2000, section 3). */
  readonly sensitive?: boolean;
  /** Basic VM-exit reason that it causes, or may cause, in VMX non-root operation (SDM vol. 3, 26.1). */
  readonly exits?: string;
  /** No instruction of the same block may follow: mode, privilege, flags or code may have changed. */
  readonly endsBlock?: boolean;
  /** Sets the interrupt shadow itself (STI, MOV SS, POP SS), so that the shadow is not cleared after it. */
  readonly setsShadow?: boolean;
  /** Loads RF itself (IRET), so that RF is not cleared after it. */
  readonly loadsRf?: boolean;
}

export type RuleTable = Readonly<Record<string, Rule>>;

const { CF, PF, AF, ZF, SF, OF } = FLAG;
/** Common sets of undefined flags. */
export const UNDEFINED = {
  AF,
  OF_AF: OF | AF,
  MULTIPLY: SF | ZF | AF | PF,
  ALL: CF | PF | AF | ZF | SF | OF,
  BIT_TEST: OF | SF | AF | PF,
  BIT_SCAN: CF | OF | SF | AF | PF,
} as const;
