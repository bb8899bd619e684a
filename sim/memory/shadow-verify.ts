/**
 * Shadow page tables against a naive re-derivation from the guest's tables, and the shadow's books against its tables.
 * Written from SDM vol. 3, 4.3 and 4.4, without walk.ts or the formats as data: it shares only the books that it checks.
 */
import type { GuestPhysical, HostPhysical } from "./address.ts";
import type { ShadowHost } from "./shadow-host.ts";
import {
  entryAddress,
  isGuestTable,
  isRoot,
  ROLE,
  regionLinks,
  SHADOW_KIND,
  type ShadowPage,
  type ShadowPages,
} from "./shadow-pages.ts";

/** The part of the host that verification needs; it should not charge. */
export type ShadowReader = Pick<ShadowHost, "readGuest32" | "hostFrame" | "isWritable" | "readTable">;

/** What the guest's tables say of a linear page; null: nothing, or an entry on the way has A clear. */
interface Derived {
  readonly guestPage: number;
  readonly writable: boolean;
  readonly user: boolean;
  readonly dirty: boolean;
  readonly executable: boolean;
}

interface Abilities {
  readonly physicalAddressBits: number;
  readonly pse36: boolean;
}

function derive(reader: ShadowReader, root: ShadowPage, linearPage: number, abilities: Abilities): Derived | null {
  if (root.kind === SHADOW_KIND.IDENTITY)
    return { guestPage: linearPage, writable: true, user: true, dirty: true, executable: true };
  if ((root.role & ROLE.PAE) !== 0) return derivePae(reader, root, linearPage, abilities);
  const directory = root.subject * 4096;
  const pde = reader.readGuest32((directory + Math.floor(linearPage / 1024) * 4) as GuestPhysical) >>> 0;
  if ((pde & 0x21) !== 0x21) return null;
  if ((root.role & ROLE.PSE) !== 0 && (pde & 0x80) !== 0) {
    const extra = abilities.pse36 ? Math.min(40, abilities.physicalAddressBits) - 32 : 0;
    const field = (pde >>> 13) & 0x1ff;
    if (field >>> extra !== 0) return null;
    const guestPage = field * 0x100000 + (pde >>> 22) * 1024 + (linearPage % 1024);
    return {
      guestPage,
      writable: (pde & 2) !== 0,
      user: (pde & 4) !== 0,
      dirty: (pde & 0x40) !== 0,
      executable: true,
    };
  }
  const table = (pde >>> 12) * 4096;
  const pte = reader.readGuest32((table + (linearPage % 1024) * 4) as GuestPhysical) >>> 0;
  if ((pte & 0x21) !== 0x21) return null;
  return {
    guestPage: pte >>> 12,
    writable: (pde & pte & 2) !== 0,
    user: (pde & pte & 4) !== 0,
    dirty: (pte & 0x40) !== 0,
    executable: true,
  };
}

/** The same for a page directory of PAE paging; `linearPage` counts from the beginning of its gigabyte. */
function derivePae(reader: ShadowReader, root: ShadowPage, linearPage: number, abilities: Abilities): Derived | null {
  const width = BigInt(abilities.physicalAddressBits);
  const nxe = (root.role & ROLE.NXE) !== 0;
  const read = (table: bigint, index: number): bigint => {
    const at = Number(table) + index * 8;
    const word = (address: number): bigint => BigInt(reader.readGuest32(address as GuestPhysical) >>> 0);
    return word(at) | (word(at + 4) << 32n);
  };
  const wrong = (entry: bigint): boolean =>
    (entry & 0x21n) !== 0x21n || (entry & ~(1n << 63n)) >> width !== 0n || (!nxe && entry >> 63n !== 0n);
  const pde = read(BigInt(root.subject) * 4096n, Math.floor(linearPage / 512));
  if (wrong(pde)) return null;
  const large = (pde & 0x80n) !== 0n;
  if (large && (pde & 0x1fe000n) !== 0n) return null;
  const frame = ((pde & ~(1n << 63n)) >> 12n) << 12n;
  const last = large ? pde : read(frame, linearPage % 512);
  if (wrong(last)) return null;
  const address = ((last & ~(1n << 63n)) >> (large ? 21n : 12n)) << (large ? 21n : 12n);
  return {
    guestPage: Number(address >> 12n) + (large ? linearPage % 512 : 0),
    writable: (pde & last & 2n) !== 0n,
    user: (pde & last & 4n) !== 0n,
    dirty: (last & 0x40n) !== 0n,
    executable: (pde | last) >> 63n === 0n,
  };
}

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;

/** Everything that is wrong with the shadow; empty when nothing is. */
export function verifyShadow(pages: ShadowPages, abilities: Abilities, reader: ShadowReader): string[] {
  const problems: string[] = [];
  const read = (page: ShadowPage, index: number): number => reader.readTable(entryAddress(page, index)) >>> 0;
  const isPae = (page: ShadowPage): boolean => (page.role & ROLE.PAE) !== 0;
  const readHigh = (page: ShadowPage, index: number): number =>
    isPae(page) ? reader.readTable((entryAddress(page, index) + 4) as HostPhysical) >>> 0 : 0;
  const name = (page: ShadowPage): string => `page ${page.kind}:${hex(page.subject)}:${page.role}`;

  // Books against tables: exactly the noted entries are present, and each is noted where it must be.
  let links = 0;
  let parents = 0;
  let leaves = 0;
  let mappings = 0;
  const identities = new Set<number>();
  const guestTables = new Set<number>();
  for (const page of pages.byFrame.values()) {
    if (identities.has(page.key)) problems.push(`${name(page)} exists twice`);
    identities.add(page.key);
    parents += page.parents.size;
    if (!isRoot(page) && page.parents.size === 0) problems.push(`${name(page)} is reachable from no root`);
    if (isGuestTable(page) && reader.hostFrame(page.subject) !== -1) guestTables.add(page.subject);
    const [first, frames] = regionLinks(page.role, pages.region);
    for (let index = 0; index < (isPae(page) ? 512 : 1024); index++) {
      const entry = read(page, index);
      if (index >= first) {
        const wanted = (frames[index - first] as number) * 4096 + 0x27;
        if (entry !== wanted || readHigh(page, index) !== 0 || page.entries.has(index))
          problems.push(`${name(page)}[${index}]: ${hex(entry)} instead of the monitor's region`);
        continue;
      }
      const high = readHigh(page, index);
      if (high !== 0 && (high !== 0x80000000 || isRoot(page) || entry === 0))
        problems.push(`${name(page)}[${index}]: upper word ${hex(high)}`);
      const target = page.entries.get(index);
      if (((entry & 1) !== 0) !== (target !== undefined))
        problems.push(`${name(page)}[${index}]: unnoted ${hex(entry)}`);
      if (target === undefined) {
        if (entry !== 0) problems.push(`${name(page)}[${index}]: absent but not 0: ${hex(entry)}`);
        continue;
      }
      if (isRoot(page)) {
        links++;
        const child = pages.byFrame.get(target);
        if (entry !== target * 4096 + 0x27) problems.push(`${name(page)}[${index}]: link ${hex(entry)}`);
        if (child !== undefined && isPae(child) !== isPae(page)) problems.push(`${name(page)}[${index}]: other format`);
        if (child === undefined || !child.parents.has(entryAddress(page, index)))
          problems.push(`${name(page)}[${index}]: child does not know`);
      } else {
        leaves++;
        if (Math.floor(entry / 4096) !== reader.hostFrame(target))
          problems.push(`${name(page)}[${index}]: wrong frame`);
        if (pages.mappings.get(target)?.has(entryAddress(page, index)) !== true)
          problems.push(`${name(page)}[${index}]: not in the reverse map`);
        if ((entry & 2) !== 0 && pages.tracing.isTraced(target))
          problems.push(`${name(page)}[${index}]: writable but traced`);
        if ((entry & 2) !== 0 && !reader.isWritable(target)) problems.push(`${name(page)}[${index}]: writable ROM`);
      }
    }
  }
  for (const entries of pages.mappings.values()) mappings += entries.size;
  if (links !== parents) problems.push(`${links} links, ${parents} noted`);
  if (leaves !== mappings) problems.push(`${leaves} leaves, ${mappings} in the reverse map`);

  // Tracing: exactly the guest pages that shadow pages stand for.
  for (const guestPage of guestTables) {
    if (!pages.tracing.traced.has(guestPage)) problems.push(`guest table ${hex(guestPage)} is not traced`);
  }
  for (const [guestPage, traced] of pages.tracing.traced) {
    if (!guestTables.has(guestPage)) problems.push(`guest page ${hex(guestPage)} is traced for nothing`);
    for (const page of traced.pages) {
      if (!pages.lives(page)) problems.push(`guest page ${hex(guestPage)} is traced for a released page`);
    }
  }

  // Leaves against the guest's tables, through every root that reaches them.
  for (const root of pages.byFrame.values()) {
    if (!isRoot(root) || pages.tracing.untraceable.has(root)) continue;
    for (const [directoryIndex, frame] of root.entries) {
      const child = pages.byFrame.get(frame);
      if (child === undefined || pages.tracing.untraceable.has(child)) continue;
      for (const index of child.entries.keys()) {
        const linearPage = directoryIndex * (isPae(root) ? 512 : 1024) + index;
        const where = `${name(root)}, linear ${hex(linearPage * 4096)}`;
        const entry = read(child, index);
        const derived = derive(reader, root, linearPage, abilities);
        if (derived === null) {
          problems.push(`${where}: present, but not in the guest's tables`);
          continue;
        }
        if (Math.floor(entry / 4096) !== reader.hostFrame(derived.guestPage)) problems.push(`${where}: wrong frame`);
        const writable = (entry & 2) !== 0;
        const user = (entry & 4) !== 0;
        if (writable && !derived.dirty) problems.push(`${where}: writable, D clear`);
        // With CR0.WP clear a read-only page may be writable for the supervisor alone.
        const bySupervisor = root.kind === SHADOW_KIND.DIRECTORY && (root.role & ROLE.WP) === 0 && !user;
        if (writable && !derived.writable && !bySupervisor) problems.push(`${where}: writable, R/W clear`);
        if ((readHigh(child, index) === 0) !== derived.executable) problems.push(`${where}: execute-disable is wrong`);
        if (user && !derived.user) problems.push(`${where}: user, U/S clear`);
      }
    }
  }
  for (const [n, root] of pages.active.entries()) {
    if (root !== null && !pages.lives(root)) problems.push("an active root was released");
    const top = pages.region !== null && n === pages.active.length - 1;
    if (top !== (((root?.role ?? 0) & ROLE.TOP) !== 0))
      problems.push(`active root ${n}: the region is ${top ? "missing" : "there"}`);
  }
  problems.push(...verifyPointers(pages, reader));
  return problems;
}

/** With PAE paging the pointer table holds the active roots, and nothing else. */
function verifyPointers(pages: ShadowPages, reader: ShadowReader): string[] {
  const { frame } = pages.pointers;
  if (pages.active.length !== 4) return [];
  if (frame === -1 || pages.byFrame.has(frame)) return ["the pointer table has no frame of its own"];
  const problems: string[] = [];
  for (const [n, root] of pages.active.entries()) {
    const wanted = root === null ? 0 : root.frame * 4096 + 1;
    const low = reader.readTable((frame * 4096 + n * 8) as HostPhysical) >>> 0;
    const high = reader.readTable((frame * 4096 + n * 8 + 4) as HostPhysical);
    if (low !== wanted || high !== 0) problems.push(`pointer ${n}: ${hex(high)}:${hex(low)} instead of ${hex(wanted)}`);
  }
  return problems;
}
