/** What of a virtual processor decides its guest's translations, as shadow tables want it. */
import { CELL, type CpuState, CR0, CR4, EFER } from "../cpu/state.ts";
import { usesPae } from "../cpu/system/pdptes.ts";
import type { GuestPaging } from "../memory/shadow.ts";

export function guestPaging(state: CpuState): GuestPaging {
  const { cr0, cr4 } = state;
  const efer = state.get(CELL.efer);
  return {
    paging: (cr0 & CR0.PG) !== 0,
    cr3: state.get(CELL.cr3),
    wp: (cr0 & CR0.WP) !== 0,
    pse: (cr4 & CR4.PSE) !== 0,
    pae: usesPae(cr0, cr4, efer) ? { nxe: (efer & EFER.NXE) !== 0, pdptes: state.pdptes() } : null,
  };
}
