/**
 * A page walker written straight from the prose of SDM vol. 3, 4.3 to 4.8, one paragraph after the other, with
 * 64-bit entries as BigInt. It shares nothing with sim/memory/walk.ts: neither tables of formats nor helpers.
 */

export interface OracleControls {
  readonly mode: "32-bit" | "PAE" | "4-level";
  readonly cr3: bigint;
  readonly wp: boolean;
  readonly pse: boolean;
  readonly pge: boolean;
  readonly nxe: boolean;
  readonly pse36: boolean;
  readonly pages1G: boolean;
  readonly maxPhyAddr: bigint;
  readonly pdptes: readonly bigint[];
}

export interface OracleAccess {
  readonly write: boolean;
  readonly user: boolean;
  readonly fetch: boolean;
}

export type OracleResult =
  | { readonly errorCode: number }
  | {
      readonly physical: bigint;
      readonly pageShift: number;
      readonly writable: boolean;
      readonly user: boolean;
      readonly executable: boolean;
      readonly global: boolean;
      /** Entries to write back, by address. */
      readonly marked: readonly (readonly [address: bigint, entry: bigint])[];
    };

const bit = (value: bigint, n: bigint): boolean => ((value >> n) & 1n) === 1n;
const field = (value: bigint, high: bigint, low: bigint): bigint =>
  high < low ? 0n : (value >> low) & ((1n << (high - low + 1n)) - 1n);

export function oracleWalk(
  controls: OracleControls,
  address: bigint,
  access: OracleAccess,
  read: (address: bigint, bytes: 4 | 8) => bigint,
): OracleResult {
  const { mode, maxPhyAddr: M } = controls;
  // 4.7: W/R, U/S and I/D describe the access.
  const described =
    (access.write ? 2 : 0) | (access.user ? 4 : 0) | (access.fetch && controls.nxe && mode !== "32-bit" ? 16 : 0);
  const used: { at: bigint; entry: bigint }[] = [];
  let physical = 0n;
  let pageShift = 0;

  const notPresent = { errorCode: described };
  const reservedBit = { errorCode: described | 1 | 8 };

  if (mode === "32-bit") {
    // "A PDE is selected using the physical address defined as follows: bits 31:12 are from CR3, bits 11:2 are bits
    // 31:22 of the linear address, bits 1:0 are 0."
    const pdeAt = (controls.cr3 & 0xfffff000n) | (field(address, 31n, 22n) << 2n);
    const pde = read(pdeAt, 4);
    if (!bit(pde, 0n)) return notPresent;
    used.push({ at: pdeAt, entry: pde });
    if (controls.pse && bit(pde, 7n)) {
      // "If the PSE-36 mechanism is not supported, bits 21:13 are reserved; if it is, bits 21:(M-19), where M is the
      // minimum of 40 and MAXPHYADDR."
      const m = M < 40n ? M : 40n;
      if (field(pde, 21n, controls.pse36 ? m - 19n : 13n) !== 0n) return reservedBit;
      // "bits 39:32 are bits 20:13 of the PDE; bits 31:22 are bits 31:22 of the PDE; bits 21:0 are from the linear
      // address."
      const upper = controls.pse36 ? field(pde, 20n, 13n) : 0n;
      physical = (upper << 32n) | (field(pde, 31n, 22n) << 22n) | field(address, 21n, 0n);
      pageShift = 22;
    } else {
      const pteAt = (pde & 0xfffff000n) | (field(address, 21n, 12n) << 2n);
      const pte = read(pteAt, 4);
      if (!bit(pte, 0n)) return notPresent;
      used.push({ at: pteAt, entry: pte });
      physical = (pte & 0xfffff000n) | field(address, 11n, 0n);
      pageShift = 12;
    }
  } else {
    const frame = (entry: bigint, low: bigint): bigint => field(entry, M - 1n, low) << low;
    let table: bigint;
    if (mode === "PAE") {
      const pdpte = controls.pdptes[Number(field(address, 31n, 30n))] as bigint;
      if (!bit(pdpte, 0n)) return notPresent;
      table = frame(pdpte, 12n);
    } else {
      const pml4eAt = frame(controls.cr3, 12n) | (field(address, 47n, 39n) << 3n);
      const pml4e = read(pml4eAt, 8);
      if (!bit(pml4e, 0n)) return notPresent;
      // "If the P flag is 1, bits 51:MAXPHYADDR are reserved. If the P flag of a PML4E is 1, the PS flag is reserved.
      // If IA32_EFER.NXE = 0 and the P flag is 1, the XD flag (bit 63) is reserved."
      if (field(pml4e, 51n, M) !== 0n || bit(pml4e, 7n) || (!controls.nxe && bit(pml4e, 63n))) return reservedBit;
      used.push({ at: pml4eAt, entry: pml4e });
      const pdpteAt = frame(pml4e, 12n) | (field(address, 38n, 30n) << 3n);
      const pdpte = read(pdpteAt, 8);
      if (!bit(pdpte, 0n)) return notPresent;
      if (field(pdpte, 51n, M) !== 0n || (!controls.nxe && bit(pdpte, 63n))) return reservedBit;
      // "If 1-GByte pages are not supported, the PS flag of a PDPTE is reserved."
      if (bit(pdpte, 7n) && (!controls.pages1G || field(pdpte, 29n, 13n) !== 0n)) return reservedBit;
      used.push({ at: pdpteAt, entry: pdpte });
      table = frame(pdpte, 12n);
      if (bit(pdpte, 7n)) {
        physical = frame(pdpte, 30n) | field(address, 29n, 0n);
        pageShift = 30;
      }
    }
    if (pageShift === 0) {
      const highestReserved = mode === "PAE" ? 62n : 51n;
      const pdeAt = table | (field(address, 29n, 21n) << 3n);
      const pde = read(pdeAt, 8);
      if (!bit(pde, 0n)) return notPresent;
      if (field(pde, highestReserved, M) !== 0n || (!controls.nxe && bit(pde, 63n))) return reservedBit;
      if (bit(pde, 7n) && field(pde, 20n, 13n) !== 0n) return reservedBit;
      used.push({ at: pdeAt, entry: pde });
      if (bit(pde, 7n)) {
        physical = frame(pde, 21n) | field(address, 20n, 0n);
        pageShift = 21;
      } else {
        const pteAt = frame(pde, 12n) | (field(address, 20n, 12n) << 3n);
        const pte = read(pteAt, 8);
        if (!bit(pte, 0n)) return notPresent;
        if (field(pte, highestReserved, M) !== 0n || (!controls.nxe && bit(pte, 63n))) return reservedBit;
        used.push({ at: pteAt, entry: pte });
        physical = frame(pte, 12n) | field(address, 11n, 0n);
        pageShift = 12;
      }
    }
  }

  // 4.6: user-mode accesses need U/S in every entry; user-mode writes R/W in every entry; supervisor writes R/W in
  // every entry if CR0.WP is 1; fetches XD 0 in every entry if IA32_EFER.NXE is 1.
  const writable = used.every(({ entry }) => bit(entry, 1n));
  const user = used.every(({ entry }) => bit(entry, 2n));
  const executable = !(controls.nxe && used.some(({ entry }) => bit(entry, 63n)));
  const denied =
    (access.user && !user) ||
    (access.write && !writable && (access.user || controls.wp)) ||
    (access.fetch && !executable);
  if (denied) return { errorCode: described | 1 };

  // 4.8: A in every entry used, D in the one that maps the page if the access writes.
  const mapping = used[used.length - 1] as { at: bigint; entry: bigint };
  const marked = used.map(
    (each) => [each.at, each.entry | 0x20n | (each === mapping && access.write ? 0x40n : 0n)] as const,
  );
  const global = controls.pge && bit(mapping.entry, 8n);
  return { physical, pageShift, writable, user, executable, global, marked };
}
