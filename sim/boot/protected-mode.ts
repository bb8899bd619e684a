/** The processor as a loader of 32-bit kernels leaves it (Multiboot Specification 0.6.96, 3.2). */
import {
  BUSY_TSS,
  CELL,
  CpuState,
  CR0,
  FLAT_CODE,
  FLAT_DATA,
  FLAT_LIMIT,
  GPR,
  MXCSR,
  MXCSR_INITIAL,
  RIGHTS,
  SEG,
  X87,
} from "../cpu/state.ts";
import type { GuestCpu } from "../techniques/monitor.ts";
import type { KernelImage } from "./image.ts";
import { INFORMATION, MULTIBOOT_MAGIC } from "./multiboot.ts";

/** IA32_APIC_BASE after reset: enabled, bootstrap processor. */
const APIC_BASE_RESET = 0xfee00900;
/** IA32_PAT after reset (SDM vol. 3, 12.12.4). */
const PAT_RESET = [0x00070406, 0x00070406] as const;
/** Boot loaders leave selectors of a GDT that is theirs; the values mean nothing to a kernel. */
const LOADER_CODE = 0x08;
const LOADER_DATA = 0x10;

/** 32-bit protected mode, flat segments, paging and interrupts off. */
export function kernelCpu(image: KernelImage): GuestCpu {
  const state = new CpuState();
  state.set(CELL.cr0, CR0.PE | CR0.ET);
  state.flags = 2;
  // As firmware leaves it: FNINIT.
  state.set(X87.control, 0x37f);
  state.set(MXCSR, MXCSR_INITIAL);
  state.eip = image.entry;
  state.setSegment(SEG.cs, LOADER_CODE, 0, FLAT_LIMIT, FLAT_CODE);
  for (const segment of [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs]) {
    state.setSegment(segment, LOADER_DATA, 0, FLAT_LIMIT, FLAT_DATA);
  }
  state.setSegment(SEG.ldtr, 0, 0, 0xffff, RIGHTS.UNUSABLE);
  state.setSegment(SEG.tr, 0, 0, 0xffff, BUSY_TSS);
  state.set(CELL.idtrLimit, 0xffff);
  state.set(CELL.gdtrLimit, 0xffff);
  state.set(CELL.dr6, 0xffff0ff0);
  state.set(CELL.dr7, 0x400);
  state.set(CELL.apicBase, APIC_BASE_RESET);
  state.i32[CELL.pat] = PAT_RESET[0];
  state.i32[CELL.pat + 1] = PAT_RESET[1];
  if (image.kind === "multiboot") {
    state.set(GPR.eax, MULTIBOOT_MAGIC);
    state.set(GPR.ebx, INFORMATION);
  }
  return { cpu: state.save() };
}
