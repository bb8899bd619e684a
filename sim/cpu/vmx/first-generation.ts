/**
 * Capability values of the first processors with VT-x, for the profiles (SDM vol. 3, appendix A).
 *
 * Both processors have what the SDM says of the first ones: the default1 controls can only be 1 (among them CR3-load
 * and CR3-store exiting, saving and loading of debug controls), no virtual NMIs, no secondary controls, and CR0.PE,
 * NE and PG and CR4.VMXE must be 1 in VMX operation.
 */
import type { VmxCapabilities } from "../profiles/profile.ts";

/** Core 2 of stepping B (CPUID 6F6h). The E6700 is the same stepping of the same die as the processor dumped. */
export const core2Capabilities: VmxCapabilities = {
  revision: 7,
  regionBytes: 1024,
  pinBased: [0x00000016, 0x0000001f],
  processorBased: [0x0401e172, 0x77b9fffe],
  exit: [0x00036dff, 0x0003efff],
  entry: [0x000011ff, 0x00001fff],
  cr0Fixed: [0x80000021, 0xffffffff],
  cr4Fixed: [0x00002000, 0x000027ff],
  misc: 0x000403c0,
  source:
    "MSRs 480h to 489h of a Core 2 X6800 (CPUID 6F6h), machine-readable dump in VirtualBox's processor database " +
    "(Intel_Core2_X6800_2_93GHz.h, generated on the processor 2017-11-04)",
};

/** Pentium 4 6x2 (CPUID F4Ah). No dump of one was found: derived. */
export const pentium4Capabilities: VmxCapabilities = {
  revision: 3,
  regionBytes: 1024,
  pinBased: [0x00000016, 0x0000001f],
  processorBased: [0x0401e172, 0x67b9fffe],
  exit: [0x00036dff, 0x0003efff],
  entry: [0x000011ff, 0x000013ff],
  cr0Fixed: [0x80000021, 0xffffffff],
  cr4Fixed: [0x00002000, 0x000027ff],
  misc: 0x000401c0,
  source:
    "derived: default1 classes and fixed bits as SDM vol. 3 appendix A states them for the first processors, the " +
    "rest as the Core 2 X6800's dump, without MSR bitmaps (which the SDM says not all processors support) and " +
    "without the SMM controls (the dual-monitor treatment is not modelled). The revision identifier is arbitrary",
};
