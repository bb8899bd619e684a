/** Writing CPUID leaves readably: text in registers, as leaves 0 and 80000002 to 80000004 give it (SDM vol. 2, CPUID). */
import type { CpuidLeaf } from "./profile.ts";

/** Four characters as the register holds them, the first in the low byte. */
export function text(characters: string): number {
  let value = 0;
  for (let i = 3; i >= 0; i--) value = value * 256 + (i < characters.length ? characters.charCodeAt(i) : 0);
  return value;
}

/** Leaves 80000002 to 80000004 with a brand string of up to 47 characters, zero-padded. */
export function brandString(brand: string): Readonly<Record<number, CpuidLeaf>> {
  if (brand.length > 47) throw new Error(`a brand string has at most 47 characters: ${brand}`);
  const leaves: Record<number, CpuidLeaf> = {};
  for (let leaf = 0; leaf < 3; leaf++) {
    const [eax, ebx, ecx, edx] = [0, 4, 8, 12].map((offset) =>
      text(brand.slice(leaf * 16 + offset, leaf * 16 + offset + 4)),
    );
    leaves[0x8000_0002 + leaf] = { eax: eax!, ebx: ebx!, ecx: ecx!, edx: edx! };
  }
  return leaves;
}
