/**
 * The shadow pages of one virtual processor's guest: tables of 32-bit or PAE paging (SDM vol. 3, 4.3 and 4.4), as the
 * guest's are, in the monitor's frames, what each stands for, who refers to whom, and which shadow entries map a guest
 * page; which guest pages are traced is in shadow-tracing.ts. This file knows how to keep those books consistent; when an entry is made and what it permits is shadow.ts's
 * business.
 *
 * A shadow page is keyed by what it stands for, the level at which the guest uses that, and its role: whatever of the
 * entries above it, of the control registers and of the level decides what its own entries say. So a guest page that
 * is directory and table at once, or table in both formats, has two shadow pages, and two directories that refer to
 * one table with different rights have one each. Links in shadow directories always permit everything: rights are combined in the leaves.
 *
 * A shadow page that no directory refers to any more is released at once, except roots, which are a cache: they stay
 * until their frames are needed or their guest page is found to hold something else. When no frame is left, the page
 * that was made first goes, but never an active root.
 *
 * With PAE paging the roots are directories too, up to four at a time, and a frame besides holds the pointer table that
 * refers to them. It stands for no guest page: the guest's pointer table counts only while it is loaded into registers.
 *
 * A monitor that lives in the guest's linear space has its page tables linked into every root that covers the top
 * (ROLE.TOP) as long as it exists. These links stand in no books.
 */
import { type HostPhysical, PAGE_SHIFT, PAGE_SIZE } from "./address.ts";
import { PAGING_32, PAGING_PAE } from "./page-tables.ts";
import type { ShadowHost, ShadowRegion } from "./shadow-host.ts";
import { type SavedTracing, ShadowTracing } from "./shadow-tracing.ts";

/** What a shadow page stands for. */
export const SHADOW_KIND = {
  /** A guest page used as page directory; `subject` is its guest page number. A root. */
  DIRECTORY: 0,
  /** A guest page used as page table; `subject` is its guest page number. */
  TABLE: 1,
  /** A piece of guest-physical memory of the size of a large page (4 MB; 2 MB with PAE), of which the guest has no table; `subject` is its number. */
  SPLIT: 2,
  /** The guest-physical space while paging is off; `subject` is 0. A root. */
  IDENTITY: 3,
  /** With PAE paging, what the guest has no directory for: it holds the monitor's region alone; `subject` is 0. A root. */
  REGION: 4,
} as const;
const KINDS = 8;

/**
 * Bits of a role. TABLE and SPLIT: R/W, U/S, XD and (SPLIT) D of the guest's PDE; roots: CR4.PSE, of 32-bit paging only;
 * all: CR0.WP, PAE paging, IA32_EFER.NXE (with PAE only). TOP: a root under which the monitor's region lies.
 */
export const ROLE = { WRITE: 1, USER: 2, DIRTY: 4, WP: 8, PSE: 16, PAE: 32, NXE: 64, NX: 128, TOP: 256 } as const;
const ROLES = 512;

const BITS = PAGING_32.bits;
const LINK = BITS.present | BITS.write | BITS.user | BITS.accessed;
/** Flags of a leaf that permits writes; D is set with R/W so that the processor never has to. */
export const LEAF_WRITABLE = BITS.write | BITS.dirty;
/** Execute-disable, in the upper word of a leaf. */
export const LEAF_NO_EXECUTE = 1 << 31;
/** What of a leaf that is present permits something. */
const RIGHTS = BITS.write | BITS.user;
const PAGE_MASK = -PAGE_SIZE;
/** Entries of a pointer table, and what lies under each. */
const POINTERS = 4;
const POINTER_REACH = 2 ** 30;
const NO_FRAME = -1;

export interface ShadowPage {
  readonly key: number;
  readonly kind: number;
  readonly subject: number;
  readonly role: number;
  /** Host-physical page number of the table; it names the shadow page as long as that lives. */
  readonly frame: number;
  /** Present entries by index: the child's frame (roots) or the guest page that is mapped. */
  readonly entries: Map<number, number>;
  /** Addresses of the entries in roots that refer to this page. */
  readonly parents: Set<HostPhysical>;
  /** Roots: number of the last activation. */
  activated: number;
}

/** The pointer table: its frame, and the frames of the directories that its entries refer to; -1: none. */
export interface PointerTable {
  readonly frame: number;
  readonly directories: readonly number[];
}

/** Everything but the tables themselves, which are in memory, as plain data. */
export interface SavedShadowPages {
  readonly pages: readonly {
    readonly kind: number;
    readonly subject: number;
    readonly role: number;
    readonly frame: number;
    readonly entries: readonly (readonly [index: number, target: number])[];
    readonly parents: readonly number[];
    readonly activated: number;
  }[];
  readonly mappings: readonly (readonly [guestPage: number, entries: readonly number[]])[];
  readonly tracing: SavedTracing;
  /** Frames of the active roots; -1: a pointer entry that is not present, or a root that was released. */
  readonly active: readonly number[];
  readonly pointers: PointerTable;
  readonly counts: Readonly<Record<keyof ShadowCounts, number>>;
}

export interface ShadowCounts {
  fills: number;
  zaps: number;
  created: number;
  released: number;
  evictions: number;
  writeProtects: number;
}

export function shadowKey(kind: number, subject: number, role: number): number {
  return (subject * KINDS + kind) * ROLES + role;
}

/** Whether a shadow page is a root, and its entries refer to other shadow pages. */
export function isRoot(page: ShadowPage): boolean {
  const { kind } = page;
  return kind === SHADOW_KIND.DIRECTORY || kind === SHADOW_KIND.IDENTITY || kind === SHADOW_KIND.REGION;
}

/** Whether a shadow page stands for a guest page, used as directory or table. */
export function isGuestTable(page: ShadowPage): boolean {
  return page.kind === SHADOW_KIND.DIRECTORY || page.kind === SHADOW_KIND.TABLE;
}

/** Entries that link the monitor's region into roots with a role: from which index on, and the tables' frames. */
export function regionLinks(
  role: number,
  region: ShadowRegion | null,
): readonly [first: number, frames: readonly number[]] {
  const entries = PAGE_SIZE / entryBytes(role);
  if (region === null || (role & ROLE.TOP) === 0) return [entries, []];
  const frames = (role & ROLE.PAE) === 0 ? [region.table] : region.paeTables;
  return [entries - frames.length, frames];
}

/** An entry of a root that refers to the table in `frame`. */
export function linkTo(frame: number): number {
  return (frame << PAGE_SHIFT) | LINK;
}

/** Bytes of an entry of a table with this role: of the shadow page's own, and of its guest page's. */
export function entryBytes(role: number): 4 | 8 {
  return (role & ROLE.PAE) === 0 ? PAGING_32.entryBytes : PAGING_PAE.entryBytes;
}

export function entryAddress(page: ShadowPage, index: number): HostPhysical {
  return (page.frame * 4096 + index * entryBytes(page.role)) as HostPhysical;
}

/** Bytes of linear space that a table with this role maps. */
function tableReach(role: number): number {
  return (PAGE_SIZE / entryBytes(role)) * PAGE_SIZE;
}

/** Index of the entry at `address` in a page. */
function entryIndex(page: ShadowPage, address: HostPhysical): number {
  return (address % 4096) / entryBytes(page.role);
}

export class ShadowPages {
  readonly #host: ShadowHost;
  readonly region: ShadowRegion | null;
  readonly #byKey = new Map<number, ShadowPage>();
  /** By frame, in the order in which they were made. */
  readonly byFrame = new Map<number, ShadowPage>();
  /** Shadow leaves by the guest page that they map. */
  readonly mappings = new Map<number, Set<HostPhysical>>();
  readonly tracing: ShadowTracing;
  readonly counts: ShadowCounts = {
    fills: 0,
    zaps: 0,
    created: 0,
    released: 0,
    evictions: 0,
    writeProtects: 0,
  };
  /** The root that the processor uses, or, with PAE paging, the four of the pointer table: never evicted. */
  active: readonly (ShadowPage | null)[] = [];
  /** Frame of the pointer table, once there is one, and what its entries refer to. */
  #pointerFrame = NO_FRAME;
  readonly #pointers: number[] = new Array(POINTERS).fill(NO_FRAME);

  constructor(host: ShadowHost, region: ShadowRegion | null) {
    this.#host = host;
    this.region = region;
    this.tracing = new ShadowTracing(host, (guestPage) => this.#writeProtect(guestPage));
  }

  find(kind: number, subject: number, role: number): ShadowPage | null {
    this.#host.step("find-page");
    return this.#byKey.get(shadowKey(kind, subject, role)) ?? null;
  }

  /** Whether `page` has not been released. */
  lives(page: ShadowPage): boolean {
    return this.byFrame.get(page.frame) === page;
  }

  /** Makes an empty shadow page, evicting others when no frame is left, and traces its guest page. */
  create(kind: number, subject: number, role: number): ShadowPage {
    const page: ShadowPage = {
      key: shadowKey(kind, subject, role),
      kind,
      subject,
      role,
      frame: this.#takeFrame(),
      entries: new Map(),
      parents: new Set(),
      activated: 0,
    };
    this.#host.step("create-page");
    this.counts.created++;
    this.#byKey.set(page.key, page);
    this.byFrame.set(page.frame, page);
    const [first, frames] = regionLinks(role, this.region);
    for (const [n, frame] of frames.entries()) {
      this.#write(page, entryAddress(page, first + n), linkTo(frame), 0);
      this.#filled();
    }
    if (isGuestTable(page)) this.tracing.trace(page);
    return page;
  }

  /** Clears all entries of a page and all references to it, and gives back its frame. */
  release(page: ShadowPage): void {
    for (const address of page.parents) {
      const root = this.byFrame.get(address >>> 12) as ShadowPage;
      this.#clearLink(root, entryIndex(root, address), page);
    }
    for (const index of page.entries.keys()) {
      if (isRoot(page)) this.unlink(page, index);
      else this.zap(page, index);
    }
    const [first, frames] = regionLinks(page.role, this.region);
    for (const n of frames.keys()) {
      this.#write(page, entryAddress(page, first + n), 0, 0);
      this.#zapped();
    }
    this.#byKey.delete(page.key);
    this.byFrame.delete(page.frame);
    if (this.active.includes(page)) this.#deactivate(page);
    this.tracing.untrace(page);
    this.#host.step("release-page");
    this.counts.released++;
    this.#host.releaseFrame(page.frame);
  }

  /** Drops everything that stands for a guest page. */
  releaseGuestPage(guestPage: number): void {
    for (const page of [...(this.tracing.traced.get(guestPage)?.pages ?? [])]) {
      if (this.lives(page)) this.release(page);
    }
  }

  /** The active root under which a linear address is translated; null if there is none. */
  activeRoot(linear: number): ShadowPage | null {
    const { active } = this;
    return (active.length === POINTERS ? active[linear >>> 30] : active[0]) ?? null;
  }

  /** Makes the pointer table refer to the active roots, and returns its host-physical address. */
  pointerTable(): HostPhysical {
    if (this.#pointerFrame === NO_FRAME) this.#pointerFrame = this.#takeFrame();
    for (const [n, root] of this.active.entries()) this.#point(n, root === null ? NO_FRAME : root.frame);
    return (this.#pointerFrame * 4096) as HostPhysical;
  }

  get pointers(): PointerTable {
    return { frame: this.#pointerFrame, directories: this.#pointers };
  }

  /** Releases everything. */
  reset(): void {
    for (const page of this.byFrame.values()) this.release(page);
    this.active = [];
    if (this.#pointerFrame === NO_FRAME) return;
    for (let n = 0; n < POINTERS; n++) this.#point(n, NO_FRAME);
    this.#host.releaseFrame(this.#pointerFrame);
    this.#pointerFrame = NO_FRAME;
  }

  child(root: ShadowPage, index: number): ShadowPage | null {
    const frame = root.entries.get(index);
    return frame === undefined ? null : (this.byFrame.get(frame) as ShadowPage);
  }

  /** Makes an absent entry of a root refer to `child`. */
  link(root: ShadowPage, index: number, child: ShadowPage): void {
    const address = entryAddress(root, index);
    this.#write(root, address, linkTo(child.frame), 0);
    this.#filled();
    root.entries.set(index, child.frame);
    child.parents.add(address);
  }

  /** Clears a present entry of a root; releases the child when that was the last reference to it. */
  unlink(root: ShadowPage, index: number): void {
    const child = this.child(root, index) as ShadowPage;
    this.#clearLink(root, index, child);
    if (child.parents.size === 0) this.release(child);
  }

  /**
   * Makes entry `index` of a TABLE or SPLIT map `guestPage` at host frame `frame`, whatever it was before; `high` is the
   * upper word, of PAE paging.
   */
  map(page: ShadowPage, index: number, guestPage: number, frame: number, flags: number, high: number): void {
    const address = entryAddress(page, index);
    const before = page.entries.get(index);
    if (before !== undefined && before !== guestPage) this.#unmap(before, address);
    const low = (frame << PAGE_SHIFT) | flags;
    const loses = before !== undefined && this.#host.lost !== undefined && this.#loses(page, address, low, high);
    this.#write(page, address, low, high);
    if (loses) this.#lostPage(page, index);
    this.#filled();
    page.entries.set(index, guestPage);
    let entries = this.mappings.get(guestPage);
    if (entries === undefined) {
      entries = new Set();
      this.mappings.set(guestPage, entries);
    }
    entries.add(address);
  }

  /** Clears a present entry of a TABLE or SPLIT. */
  zap(page: ShadowPage, index: number): void {
    const address = entryAddress(page, index);
    this.#write(page, address, 0, 0);
    this.#lostPage(page, index);
    this.#zapped();
    this.#unmap(page.entries.get(index) as number, address);
    page.entries.delete(index);
  }

  counters(): Record<string, number> {
    let roots = 0;
    for (const page of this.byFrame.values()) if (isRoot(page)) roots++;
    return {
      "shadow.fills": this.counts.fills,
      "shadow.zaps": this.counts.zaps,
      "shadow.write-protects": this.counts.writeProtects,
      "shadow.pages": this.byFrame.size,
      "shadow.pages.created": this.counts.created,
      "shadow.pages.released": this.counts.released,
      "shadow.evictions": this.counts.evictions,
      "shadow.roots": roots,
      ...this.tracing.counters(),
    };
  }

  save(): SavedShadowPages {
    return {
      pages: [...this.byFrame.values()].map((page) => ({
        kind: page.kind,
        subject: page.subject,
        role: page.role,
        frame: page.frame,
        entries: [...page.entries],
        parents: [...page.parents],
        activated: page.activated,
      })),
      mappings: [...this.mappings].map(([guestPage, entries]) => [guestPage, [...entries]] as const),
      tracing: this.tracing.save(),
      active: this.active.map((root) => root?.frame ?? NO_FRAME),
      pointers: { frame: this.#pointerFrame, directories: [...this.#pointers] },
      counts: { ...this.counts },
    };
  }

  /** Takes over saved books, in the same orders; memory, with the tables and the free frames, is restored apart. */
  restore(saved: SavedShadowPages): void {
    this.#byKey.clear();
    this.byFrame.clear();
    this.mappings.clear();
    for (const { kind, subject, role, frame, entries, parents, activated } of saved.pages) {
      const page: ShadowPage = {
        key: shadowKey(kind, subject, role),
        kind,
        subject,
        role,
        frame,
        entries: new Map(entries),
        parents: new Set(parents as readonly HostPhysical[]),
        activated,
      };
      this.#byKey.set(page.key, page);
      this.byFrame.set(frame, page);
    }
    for (const [guestPage, entries] of saved.mappings) {
      this.mappings.set(guestPage, new Set(entries as readonly HostPhysical[]));
    }
    this.tracing.restore(saved.tracing, new Map([...this.byFrame].filter(([, page]) => isGuestTable(page))));
    this.active = saved.active.map((frame) => this.byFrame.get(frame) ?? null);
    this.#pointerFrame = saved.pointers.frame;
    for (const [n, frame] of saved.pointers.directories.entries()) this.#pointers[n] = frame;
    Object.assign(this.counts, saved.counts);
  }

  #takeFrame(): number {
    for (;;) {
      const frame = this.#host.allocateFrame();
      if (frame !== -1) return frame;
      const victim = this.#oldest();
      if (victim === null) throw new Error("shadow page tables need at least two frames of monitor memory");
      this.counts.evictions++;
      this.release(victim);
    }
  }

  #oldest(): ShadowPage | null {
    for (const page of this.byFrame.values()) if (!this.active.includes(page)) return page;
    return null;
  }

  /** An active root is released: nothing refers to it any more. */
  #deactivate(page: ShadowPage): void {
    this.active = this.active.map((root) => (root === page ? null : root));
    for (const [n, frame] of this.#pointers.entries()) if (frame === page.frame) this.#point(n, NO_FRAME);
  }

  /** Entry `n` of the pointer table, in which all flags but P are reserved. */
  #point(n: number, frame: number): void {
    if (this.#pointers[n] === frame) return;
    this.#pointers[n] = frame;
    const address = (this.#pointerFrame * 4096 + n * PAGING_PAE.entryBytes) as HostPhysical;
    this.#host.writeTable(address, frame === NO_FRAME ? 0 : (frame << 12) | BITS.present);
  }

  /** Stores an entry: the word with P is the last of one that comes and the first of one that goes. */
  #write(page: ShadowPage, address: HostPhysical, low: number, high: number): void {
    const upper = (address + 4) as HostPhysical;
    const wide = entryBytes(page.role) === 8;
    if (wide && low !== 0) this.#host.writeTable(upper, high);
    this.#host.writeTable(address, low);
    if (wide && low === 0) this.#host.writeTable(upper, 0);
  }

  #clearLink(root: ShadowPage, index: number, child: ShadowPage): void {
    const address = entryAddress(root, index);
    this.#write(root, address, 0, 0);
    this.#lost(root, index * tableReach(root.role), tableReach(root.role));
    this.#zapped();
    root.entries.delete(index);
    child.parents.delete(address);
  }

  #unmap(guestPage: number, address: HostPhysical): void {
    const entries = this.mappings.get(guestPage) as Set<HostPhysical>;
    entries.delete(address);
    if (entries.size === 0) this.mappings.delete(guestPage);
  }

  #filled(): void {
    this.#host.step("fill");
    this.counts.fills++;
  }

  #zapped(): void {
    this.#host.step("zap");
    this.counts.zaps++;
  }

  #writeProtect(guestPage: number): void {
    for (const address of this.mappings.get(guestPage) ?? []) {
      const entry = this.#host.readTable(address);
      if ((entry & BITS.write) === 0) continue;
      this.#host.writeTable(address, entry & ~LEAF_WRITABLE);
      if (this.#host.lost !== undefined) {
        const page = this.byFrame.get(address >>> PAGE_SHIFT) as ShadowPage;
        this.#lostPage(page, entryIndex(page, address));
      }
      this.#host.step("write-protect");
      this.counts.writeProtects++;
    }
  }

  /** Whether the present entry at `address` permits what another in its place will not. */
  #loses(page: ShadowPage, address: HostPhysical, low: number, high: number): boolean {
    const before = this.#host.readTable(address);
    if (((before ^ low) & PAGE_MASK) !== 0 || (before & ~low & RIGHTS) !== 0) return true;
    if (entryBytes(page.role) === 4 || high === 0) return false;
    return this.#host.readTable((address + 4) as HostPhysical) === 0;
  }

  /** Tells the host of a leaf that the active root may reach. */
  #lostPage(page: ShadowPage, index: number): void {
    if (this.#host.lost === undefined) return;
    for (const parent of page.parents) {
      const root = this.byFrame.get(parent >>> PAGE_SHIFT) as ShadowPage;
      this.#lost(root, entryIndex(root, parent) * tableReach(root.role) + index * PAGE_SIZE, PAGE_SIZE);
    }
  }

  /** Tells the host of linear addresses under `root`, as often as that is active. */
  #lost(root: ShadowPage, offset: number, bytes: number): void {
    if (this.#host.lost === undefined) return;
    for (const [n, active] of this.active.entries()) {
      if (active === root) this.#host.lost(n * POINTER_REACH + offset, bytes);
    }
  }
}
