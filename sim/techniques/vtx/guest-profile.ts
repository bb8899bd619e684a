/** The processor that a guest of the VT-x monitor finds: the real one without VMX, which is not virtualized. */
import type { CpuidLeaf, Profile } from "../../cpu/profiles/profile.ts";

const ECX_VMX = 1 << 5;

/** A profile whose CPUID does not announce VMX and whose MSRs and CR4 know nothing of it. */
export function hiddenFromGuest(profile: Profile): Profile {
  const features = profile.cpuid[1];
  if (features === undefined) return { ...profile, vmx: null };
  const masked: CpuidLeaf = { ...features, ecx: features.ecx & ~ECX_VMX };
  return { ...profile, vmx: null, cpuid: { ...profile.cpuid, 1: masked } };
}
