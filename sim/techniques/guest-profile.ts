/**
 * The processor that a guest of the VT-x monitor finds: the real one without what is not virtualized. VMX is not, and
 * neither are MONITOR and MWAIT, so that a guest that waits executes HLT, which the monitor understands.
 */
import type { CpuidLeaf, Profile } from "../cpu/profiles/profile.ts";

const ECX_MONITOR = 1 << 3;
const ECX_VMX = 1 << 5;
const HIDDEN_FEATURES = ["monitor", "vmx"];

/** A profile whose CPUID does not announce them, whose MSRs and CR4 know nothing of VMX, and to which they are #UD. */
export function hiddenFromGuest(profile: Profile): Profile {
  const features = profile.features.filter((feature) => !HIDDEN_FEATURES.includes(feature));
  const announced = profile.cpuid[1];
  if (announced === undefined) return { ...profile, features, vmx: null };
  const masked: CpuidLeaf = { ...announced, ecx: announced.ecx & ~(ECX_MONITOR | ECX_VMX) };
  return { ...profile, features, vmx: null, cpuid: { ...profile.cpuid, 1: masked } };
}
