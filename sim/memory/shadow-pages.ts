/**
 * The shadow pages of one virtual processor's guest: tables of 32-bit paging (SDM vol. 3, 4.3) in the monitor's
 * frames, what each stands for, who refers to whom, which guest pages are traced, and which shadow entries map a guest
 * page. This file knows how to keep those books consistent; when an entry is made and what it permits is shadow.ts's
 * business.
 *
 * A shadow page is keyed by what it stands for, the level at which the guest uses that, and its role: whatever of the
 * entries above it, of the control registers and of the level decides what its own entries say. So a guest page that
 * is directory and table at once has two shadow pages, and two directories that refer to one table with different
 * rights have one each. Links in shadow directories always permit everything: rights are combined in the leaves.
 *
 * A shadow page that no directory refers to any more is released at once, except roots, which are a cache: they stay
 * until their frames are needed or their guest page is found to hold something else. When no frame is left, the page
 * that was made first goes, but never the active root.
 */
import type { HostPhysical } from "./address.ts";
import { PAGING_32 } from "./page-tables.ts";
import type { ShadowHost } from "./shadow-host.ts";

/** What a shadow page stands for. */
export const SHADOW_KIND = {
  /** A guest page used as page directory; `subject` is its guest page number. A root. */
  DIRECTORY: 0,
  /** A guest page used as page table; `subject` is its guest page number. */
  TABLE: 1,
  /** A 4 MB piece of guest-physical memory, of which the guest has no table; `subject` is its number. */
  SPLIT: 2,
  /** The guest-physical space while paging is off; `subject` is 0. A root. */
  IDENTITY: 3,
} as const;

/** Bits of a role. TABLE and SPLIT: R/W, U/S and (SPLIT) D of the guest's PDE, and CR0.WP; roots: CR0.WP and CR4.PSE. */
export const ROLE = { WRITE: 1, USER: 2, DIRTY: 4, WP: 8, PSE: 16 } as const;

const BITS = PAGING_32.bits;
const LINK = BITS.present | BITS.write | BITS.user | BITS.accessed;
/** Flags of a leaf that permits writes; D is set with R/W so that the processor never has to. */
export const LEAF_WRITABLE = BITS.write | BITS.dirty;

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
  readonly active: number;
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
  return (subject * 4 + kind) * 32 + role;
}

/** Whether a shadow page is a root, and its entries refer to other shadow pages. */
export function isRoot(page: ShadowPage): boolean {
  return page.kind === SHADOW_KIND.DIRECTORY || page.kind === SHADOW_KIND.IDENTITY;
}

export function entryAddress(page: ShadowPage, index: number): HostPhysical {
  return (page.frame * 4096 + index * 4) as HostPhysical;
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
  /** The root that the processor uses: never evicted. */
  active: ShadowPage | null = null;

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
      this.#clearLink(this.byFrame.get(address >>> 12) as ShadowPage, (address >>> 2) & 0x3ff, page);
    }
    for (const index of page.entries.keys()) {
      if (isRoot(page)) this.unlink(page, index);
      else this.zap(page, index);
    }
    this.#byKey.delete(page.key);
    this.byFrame.delete(page.frame);
    if (this.active === page) this.active = null;
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

  child(root: ShadowPage, index: number): ShadowPage | null {
    const frame = root.entries.get(index);
    return frame === undefined ? null : (this.byFrame.get(frame) as ShadowPage);
  }

  /** Makes an absent entry of a root refer to `child`. */
  link(root: ShadowPage, index: number, child: ShadowPage): void {
    const address = entryAddress(root, index);
    this.#host.writeTable(address, (child.frame << 12) | LINK);
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

  /** Makes entry `index` of a TABLE or SPLIT map `guestPage` at host frame `frame`, whatever it was before. */
  map(page: ShadowPage, index: number, guestPage: number, frame: number, flags: number): void {
    const address = entryAddress(page, index);
    const before = page.entries.get(index);
    if (before !== undefined && before !== guestPage) this.#unmap(before, address);
    this.#host.writeTable(address, (frame << 12) | flags);
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
    this.#host.writeTable(address, 0);
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
      active: this.active === null ? -1 : this.active.frame,
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
    this.active = this.byFrame.get(saved.active) ?? null;
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
    for (const page of this.byFrame.values()) if (page !== this.active) return page;
    return null;
  }

  #clearLink(root: ShadowPage, index: number, child: ShadowPage): void {
    const address = entryAddress(root, index);
    this.#host.writeTable(address, 0);
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
