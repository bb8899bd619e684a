/**
 * The VMX capability MSRs as RDMSR reads them (SDM vol. 3, appendix A). They are read-only: WRMSR to them is #GP(0),
 * and without VMX they do not exist; both are the caller's duty.
 *
 * Simplified: the dual-monitor treatment (IA32_VMX_BASIC bit 49) and INS/OUTS instruction information (bit 54) are
 * not offered, and IA32_VMX_VMCS_ENUM counts the fields that exist here.
 */
import type { Profile, VmxCapabilities } from "../profiles/profile.ts";
import { FIELDS } from "./fields.ts";

/** First and last capability MSR of the first generation. */
export const CAPABILITY_MSRS = { first: 0x480, last: 0x48a } as const;

/** Memory type "write-back" in IA32_VMX_BASIC bits 53:50. */
const WRITE_BACK = 6 << 18;

/** Bits 9:1 of the highest encoding in use, in place (A.9). */
const HIGHEST_INDEX = FIELDS.reduce((highest, field) => Math.max(highest, field.encoding & 0x3fe), 0);

const READ: readonly ((vmx: VmxCapabilities) => readonly [low: number, high: number])[] = [
  (vmx) => [vmx.revision, vmx.regionBytes | WRITE_BACK],
  (vmx) => vmx.pinBased,
  (vmx) => vmx.processorBased,
  (vmx) => vmx.exit,
  (vmx) => vmx.entry,
  (vmx) => [vmx.misc, 0],
  (vmx) => [vmx.cr0Fixed[0], 0],
  (vmx) => [vmx.cr0Fixed[1], 0],
  (vmx) => [vmx.cr4Fixed[0], 0],
  (vmx) => [vmx.cr4Fixed[1], 0],
  () => [HIGHEST_INDEX, 0],
];

/** A capability MSR's low and high half, unsigned; null for an index outside 480h to 48Ah or without VMX. */
export function capabilityMsr(profile: Profile, index: number): readonly [low: number, high: number] | null {
  const read = READ[index - CAPABILITY_MSRS.first];
  if (read === undefined || profile.vmx === null) return null;
  const [low, high] = read(profile.vmx);
  return [low >>> 0, high >>> 0];
}
