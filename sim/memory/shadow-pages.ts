/**
 * The shadow pages of one virtual processor's guest: tables of 32-bit or PAE paging (SDM vol. 3, 4.3 and 4.4), as the
 * guest's are, in the monitor's frames, what each stands for, who refers to whom, which guest pages are traced, and which shadow entries map a guest
 * page. This file knows how to keep those books consistent; when an entry is made and what it permits is shadow.ts's
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
 */
import type { HostPhysical } from "./address.ts";
import { PAGING_32, PAGING_PAE } from "./page-tables.ts";
import type { ShadowHost } from "./shadow-host.ts";

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
} as const;

/**
 * Bits of a role. TABLE and SPLIT: R/W, U/S, XD and (SPLIT) D of the guest's PDE; roots: CR4.PSE, of 32-bit paging only;
 * all: CR0.WP, PAE paging, IA32_EFER.NXE (with PAE only).
 */
export const ROLE = { WRITE: 1, USER: 2, DIRTY: 4, WP: 8, PSE: 16, PAE: 32, NXE: 64, NX: 128 } as const;
const ROLES = 256;

const BITS = PAGING_32.bits;
const LINK = BITS.present | BITS.write | BITS.user | BITS.accessed;
/** Flags of a leaf that permits writes; D is set with R/W so that the processor never has to. */
export const LEAF_WRITABLE = BITS.write | BITS.dirty;
/** Execute-disable, in the upper word of a leaf. */
export const LEAF_NO_EXECUTE = 1 << 31;
/** Entries of a pointer table. */
const POINTERS = 4;
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

/** A guest page whose stores the monitor sees. */
export interface TracedPage {
  /** Shadow pages that stand for it; at least one. */
  readonly pages: ShadowPage[];
  /** Stores into it since a root that reaches it was last active (shadow.ts). */
  writes: number;
  /** Activation that last made it reachable when `writes` was counted. */
  reached: number;
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
  readonly traced: readonly (readonly [
    guestPage: number,
    frames: readonly number[],
    writes: number,
    reached: number,
  ])[];
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
  traced: number;
  untraced: number;
  writeProtects: number;
}

export function shadowKey(kind: number, subject: number, role: number): number {
  return (subject * 4 + kind) * ROLES + role;
}

/** Whether a shadow page is a root, and its entries refer to other shadow pages. */
export function isRoot(page: ShadowPage): boolean {
  return page.kind === SHADOW_KIND.DIRECTORY || page.kind === SHADOW_KIND.IDENTITY;
}

/** Bytes of an entry of a table with this role: of the shadow page's own, and of its guest page's. */
export function entryBytes(role: number): 4 | 8 {
  return (role & ROLE.PAE) === 0 ? PAGING_32.entryBytes : PAGING_PAE.entryBytes;
}

export function entryAddress(page: ShadowPage, index: number): HostPhysical {
  return (page.frame * 4096 + index * entryBytes(page.role)) as HostPhysical;
}

/** Index of the entry at `address` in a page. */
function entryIndex(page: ShadowPage, address: HostPhysical): number {
  return (address % 4096) / entryBytes(page.role);
}

export class ShadowPages {
  readonly #host: ShadowHost;
  readonly #byKey = new Map<number, ShadowPage>();
  /** By frame, in the order in which they were made. */
  readonly byFrame = new Map<number, ShadowPage>();
  /** Shadow leaves by the guest page that they map. */
  readonly mappings = new Map<number, Set<HostPhysical>>();
  readonly traced = new Map<number, TracedPage>();
  /** Pages that stand for guest tables outside RAM, which cannot be traced. */
  readonly untraceable = new Set<ShadowPage>();
  readonly counts: ShadowCounts = {
    fills: 0,
    zaps: 0,
    created: 0,
    released: 0,
    evictions: 0,
    traced: 0,
    untraced: 0,
    writeProtects: 0,
  };
  /** The root that the processor uses, or, with PAE paging, the four of the pointer table: never evicted. */
  active: readonly (ShadowPage | null)[] = [];
  /** Frame of the pointer table, once there is one, and what its entries refer to. */
  #pointerFrame = NO_FRAME;
  readonly #pointers: number[] = new Array(POINTERS).fill(NO_FRAME);

  constructor(host: ShadowHost) {
    this.#host = host;
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
    if (kind === SHADOW_KIND.DIRECTORY || kind === SHADOW_KIND.TABLE) this.#trace(page);
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
    this.#byKey.delete(page.key);
    this.byFrame.delete(page.frame);
    if (this.active.includes(page)) this.#deactivate(page);
    this.#untrace(page);
    this.#host.step("release-page");
    this.counts.released++;
    this.#host.releaseFrame(page.frame);
  }

  /** Drops everything that stands for a guest page. */
  releaseGuestPage(guestPage: number): void {
    for (const page of [...(this.traced.get(guestPage)?.pages ?? [])]) {
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
    this.#write(root, address, (child.frame << 12) | LINK, 0);
    this.#host.step("fill");
    this.counts.fills++;
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
    this.#write(page, address, (frame << 12) | flags, high);
    this.#host.step("fill");
    this.counts.fills++;
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
    this.#host.step("zap");
    this.counts.zaps++;
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
      "shadow.traced-pages": this.traced.size,
      "shadow.traced": this.counts.traced,
      "shadow.untraced": this.counts.untraced,
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
      traced: [...this.traced].map(
        ([guestPage, { pages, writes, reached }]) =>
          [guestPage, pages.map((page) => page.frame), writes, reached] as const,
      ),
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
    this.traced.clear();
    this.untraceable.clear();
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
    for (const [guestPage, frames, writes, reached] of saved.traced) {
      const pages = frames.map((frame) => this.byFrame.get(frame) as ShadowPage);
      this.traced.set(guestPage, { pages, writes, reached });
    }
    for (const page of this.byFrame.values()) {
      const guestTable = page.kind === SHADOW_KIND.DIRECTORY || page.kind === SHADOW_KIND.TABLE;
      if (guestTable && !this.traced.has(page.subject)) this.untraceable.add(page);
    }
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
    this.#host.step("zap");
    this.counts.zaps++;
    root.entries.delete(index);
    child.parents.delete(address);
  }

  #unmap(guestPage: number, address: HostPhysical): void {
    const entries = this.mappings.get(guestPage) as Set<HostPhysical>;
    entries.delete(address);
    if (entries.size === 0) this.mappings.delete(guestPage);
  }

  #trace(page: ShadowPage): void {
    const guestPage = page.subject;
    const known = this.traced.get(guestPage);
    if (known !== undefined) {
      known.pages.push(page);
      return;
    }
    if (this.#host.hostFrame(guestPage) === -1) {
      this.untraceable.add(page);
      return;
    }
    this.traced.set(guestPage, { pages: [page], writes: 0, reached: 0 });
    this.#host.step("trace");
    this.counts.traced++;
    for (const address of this.mappings.get(guestPage) ?? []) {
      const entry = this.#host.readTable(address);
      if ((entry & BITS.write) === 0) continue;
      this.#host.writeTable(address, entry & ~LEAF_WRITABLE);
      this.#host.step("write-protect");
      this.counts.writeProtects++;
    }
  }

  #untrace(page: ShadowPage): void {
    if (this.untraceable.delete(page)) return;
    const traced = this.traced.get(page.subject);
    if (traced === undefined || !traced.pages.includes(page)) return;
    traced.pages.splice(traced.pages.indexOf(page), 1);
    if (traced.pages.length !== 0) return;
    this.traced.delete(page.subject);
    this.#host.step("untrace");
    this.counts.untraced++;
  }
}
