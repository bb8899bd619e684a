/**
 * The processor after a reset (SDM vol. 3, table 10-1): real mode at F000:FFF0, with the code segment's base at the
 * top of the address space, where the reset vector FFFFFFF0 is in ROM.
 *
 * Simplified: no built-in self test (EAX is 0). INIT, which leaves the x87, MMX and SSE registers, MTRRs and
 * model-specific registers alone, is not told apart from RESET. The time-stamp counter goes on as at INIT.
 */
import type { Profile } from "./profiles/profile.ts";
import { BUSY_TSS, CELL, CpuState, CR0, FLAG, GPR, MXCSR, MXCSR_INITIAL, RIGHTS, SEG, X87 } from "./state.ts";
import { APIC_BASE } from "./system/msr.ts";

const CODE_SELECTOR = 0xf000;
const CODE_BASE = 0xffff_0000;
const EIP = 0xfff0;
const LIMIT = 0xffff;
/** Present, read/write, accessed: the code segment too. */
const SEGMENT_RIGHTS = RIGHTS.P | RIGHTS.S | RIGHTS.WRITABLE_OR_READABLE | RIGHTS.ACCESSED;
const LDT_RIGHTS = RIGHTS.P | 2;
const DR6 = 0xffff0ff0;
const DR7 = 0x400;
const APIC_PAGE = 0xfee0_0000;
/** IA32_MISC_ENABLE: fast strings. */
const FAST_STRINGS = 1;
/** IA32_PAT (SDM vol. 3, 12.12.4): WB, WT, UC-, UC, and again. */
const PAT = 0x0007_0406;
/** x87: all registers +0.0 and valid as such (FNINIT empties them), no exception masked. */
const X87_CONTROL = 0x40;
const X87_VALID = 0xff;

/** All cells of a processor that has been reset. */
export function resetState(profile: Profile): CpuState {
  const state = new CpuState();
  state.flags = FLAG.ONE;
  state.eip = EIP;
  state.set(CELL.cr0, CR0.CD | CR0.NW | CR0.ET);
  state.setSegment(SEG.cs, CODE_SELECTOR, CODE_BASE, LIMIT, SEGMENT_RIGHTS);
  for (const segment of [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs])
    state.setSegment(segment, 0, 0, LIMIT, SEGMENT_RIGHTS);
  state.setSegment(SEG.ldtr, 0, 0, LIMIT, LDT_RIGHTS);
  state.setSegment(SEG.tr, 0, 0, LIMIT, BUSY_TSS);
  state.set(CELL.gdtrLimit, LIMIT);
  state.set(CELL.idtrLimit, LIMIT);
  state.set(GPR.edx, profile.cpuid[1]?.eax ?? 0);
  state.set(CELL.dr6, DR6);
  state.set(CELL.dr7, DR7);
  state.set(CELL.apicBase, APIC_PAGE | APIC_BASE.ENABLE | APIC_BASE.BSP);
  state.set(CELL.miscEnable, FAST_STRINGS);
  state.i32[CELL.pat] = PAT;
  state.i32[CELL.pat + 1] = PAT;
  state.set(X87.control, X87_CONTROL);
  state.set(X87.valid, X87_VALID);
  state.set(MXCSR, MXCSR_INITIAL);
  return state;
}
