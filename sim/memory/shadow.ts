/**
 * Shadow page tables: the tables that the processor walks while a guest runs, derived from the guest's own (SDM
 * vol. 3, 4.3: 32-bit paging with 4 KB and 4 MB pages) or, while the guest has paging off, from nothing. The guest's
 * tables say which guest-physical page, the pmap says where that is.
 *
 * They are kept *coherent*: no present shadow entry ever permits what the guest's tables do not permit now. Three
 * means hold that.
 *  - Entries are made on demand, by a fault (`fault`). A fault that the guest's tables explain is the guest's; one that
 *    they do not is hidden from it.
 *  - Guest tables that entries were made from are write-protected (traced). A permitted store to one faults, the
 *    monitor emulates it and reports it (`guestWrote`), and the entries made from the bytes are brought up to date.
 *  - A and D: a shadow entry is present only when all guest entries used have A set, and writable only when D is set
 *    in the one that maps the page, so that the first use and the first write fault and set the flag.
 * INVLPG and reloads of CR3 therefore change nothing here; a VM entry without VPIDs has flushed the TLB anyway.
 *
 * The processor must run with CR0.WP set, whatever the guest believes. With the guest's CR0.WP clear, a read-only user
 * page is either read-only and user, or writable and supervisor, whichever was used last.
 *
 * A 4 MB page is split into a shadow table of 4 KB entries, so that single pages of it can be traced.
 *
 * Tables that turn into something else. A page table is let go with the last directory entry that refers to it. A
 * directory (or a table under one) of an address space that has ended gives no such sign; its page is traced until
 * `floodLimit` stores in a row have gone to it while the active root does not reach it, and no root that reaches it
 * has been active in between. A table that the active root reaches is never let go, however many stores it gets: a kernel
 * that rewrites the table it runs on would take a fault per store *and* rebuild the table.
 *
 * Simplified: guest tables in device memory cannot be traced; what is made from them stays, as a TLB entry would,
 * until INVLPG or the next activation. PAE is not modelled. Shadow entries never have G set: it is of no use where
 * every VM entry flushes the TLB.
 */
import { addressBits, type GuestPhysical, type HostPhysical, lowBits, PAGE_SIZE, pageNumber } from "./address.ts";
import { type Level, PAGING_32, type Tables, tablesOf } from "./page-tables.ts";
import type { ShadowHost } from "./shadow-host.ts";
import {
  LEAF_WRITABLE,
  ROLE,
  type SavedShadowPages,
  SHADOW_KIND,
  type ShadowPage,
  ShadowPages,
  shadowKey,
  type TracedPage,
} from "./shadow-pages.ts";
import { type ShadowReader, verifyShadow } from "./shadow-verify.ts";
import {
  FIRST_STAGE_REASONS,
  largePageBase,
  PF,
  WALK,
  WALK_OUTCOME,
  type WalkContext,
  WalkResult,
  walk,
} from "./walk.ts";

export interface ShadowOptions {
  /** MAXPHYADDR and CPUID.1:EDX.PSE-36 that the guest sees. */
  readonly physicalAddressBits: number;
  readonly pse36: boolean;
  /** Stores in a row after which an unused table's page is no longer traced. */
  readonly floodLimit?: number;
}

/** What of the guest's control registers decides its translations. */
export interface GuestPaging {
  /** CR0.PG. */
  readonly paging: boolean;
  readonly cr3: number;
  /** CR0.WP. */
  readonly wp: boolean;
  /** CR4.PSE. */
  readonly pse: boolean;
}

/** What a page fault of the processor on shadow tables was. */
export type ShadowFault =
  /** The shadow tables lagged behind the guest's and have been brought up to date: run on. */
  | { readonly kind: "hidden" }
  /** The guest's tables do not permit the access: inject #PF with this error code. A and D are untouched. */
  | { readonly kind: "guest"; readonly errorCode: number }
  /** A store, permitted by the guest's tables, to a traced page: emulate it, then call `guestWrote`. */
  | { readonly kind: "traced-write"; readonly address: GuestPhysical }
  /** Permitted, but not to RAM: emulate the access. */
  | { readonly kind: "device"; readonly address: GuestPhysical };

export interface SavedShadow {
  readonly paging: GuestPaging | null;
  readonly pages: SavedShadowPages;
  readonly activations: number;
  readonly faults: Readonly<Record<ShadowFault["kind"], number>>;
  readonly rootHits: number;
  readonly rootMisses: number;
  readonly floods: number;
}

const DEFAULT_FLOOD_LIMIT = 16;

const BITS = PAGING_32.bits;
const HIDDEN: ShadowFault = { kind: "hidden" };
const IDENTITY_ROLE = ROLE.WRITE | ROLE.USER | ROLE.DIRTY | ROLE.WP;

export class Shadow {
  readonly #host: ShadowHost;
  readonly #floodLimit: number;
  readonly #options: ShadowOptions;
  /** By CR4.PSE. */
  readonly #tables: readonly [without: Tables, withPse: Tables];
  readonly #pages: ShadowPages;
  readonly #result = new WalkResult();
  readonly #faults: Record<ShadowFault["kind"], number> = { hidden: 0, guest: 0, "traced-write": 0, device: 0 };
  #paging: GuestPaging | null = null;
  #context: WalkContext;
  /** Counts activations; a root's last one says when it was in use. */
  #activations = 0;
  #rootHits = 0;
  #rootMisses = 0;
  #floods = 0;

  constructor(host: ShadowHost, options: ShadowOptions) {
    const { physicalAddressBits, pse36 } = options;
    this.#host = host;
    this.#options = options;
    this.#floodLimit = options.floodLimit ?? DEFAULT_FLOOD_LIMIT;
    this.#tables = [
      tablesOf(PAGING_32, { physicalAddressBits, pse36, pse: false }),
      tablesOf(PAGING_32, { physicalAddressBits, pse36, pse: true }),
    ];
    this.#pages = new ShadowPages(host);
    this.#context = this.#contextOf({ paging: false, cr3: 0, wp: false, pse: false });
  }

  /**
   * Makes the shadow of the guest's present address space the active one and returns its root, for the processor's
   * CR3. To be called whenever one of the values may have changed: MOV CR0, CR3 and CR4.
   */
  activate(paging: GuestPaging): HostPhysical {
    const pages = this.#pages;
    for (const page of pages.untraceable) pages.release(page);
    const kind = paging.paging ? SHADOW_KIND.DIRECTORY : SHADOW_KIND.IDENTITY;
    const subject = paging.paging ? pageNumber(paging.cr3) : 0;
    const role = paging.paging ? (paging.wp ? ROLE.WP : 0) | (paging.pse ? ROLE.PSE : 0) : 0;
    const before = pages.active;
    let root = pages.find(kind, subject, role);
    if (root === null) {
      this.#rootMisses++;
      root = pages.create(kind, subject, role);
    } else {
      this.#rootHits++;
    }
    if (root !== before) this.#host.step("root-switch");
    pages.active = root;
    root.activated = ++this.#activations;
    this.#paging = { ...paging };
    this.#context = this.#contextOf(paging);
    return (root.frame * PAGE_SIZE) as HostPhysical;
  }

  /**
   * Handles a page fault that the processor took on the active shadow tables, at `linear` with `errorCode` (SDM
   * vol. 3, 4.7; only W/R and U/S matter). Walks the guest's tables as its processor would, A and D flags included.
   */
  fault(linear: number, errorCode: number): ShadowFault {
    const outcome = this.#resolve(linear, (errorCode & PF.WR) !== 0, (errorCode & PF.US) !== 0);
    this.#faults[outcome.kind]++;
    return outcome;
  }

  /**
   * Brings the shadow up to date after `bytes` bytes from `address` of guest-physical memory have been written by
   * anybody but the guest itself: by the emulator, a device, the monitor. Stores to pages that are not traced are
   * none of the shadow's business, and cost nothing.
   */
  guestWrote(address: GuestPhysical, bytes: number): void {
    const end = address + bytes;
    for (let guestPage = pageNumber(address); guestPage * PAGE_SIZE < end; guestPage++) {
      const traced = this.#pages.traced.get(guestPage);
      if (traced === undefined) continue;
      const from = Math.max(address, guestPage * PAGE_SIZE);
      const to = Math.min(end, (guestPage + 1) * PAGE_SIZE);
      for (let at = from - (from % 4); at < to; at += 4) this.#entryChanged(traced, at);
      this.#countWrite(guestPage, traced);
    }
  }

  /** INVLPG: only what was made from tables outside RAM can be out of date. */
  invalidate(linear: number): void {
    const pages = this.#pages;
    const root = pages.active;
    if (root === null || pages.untraceable.size === 0) return;
    const directoryIndex = addressBits(linear, 22, 10);
    const child = pages.child(root, directoryIndex);
    if (child === null) return;
    const index = addressBits(linear, 12, 10);
    if (pages.untraceable.has(root)) pages.unlink(root, directoryIndex);
    else if (pages.untraceable.has(child) && child.entries.has(index)) pages.zap(child, index);
  }

  /** Whether stores to this guest-physical page must be emulated. */
  isTraced(guestPage: number): boolean {
    return this.#pages.traced.has(guestPage);
  }

  /** Releases everything. `activate` comes next. */
  reset(): void {
    for (const page of this.#pages.byFrame.values()) this.#pages.release(page);
    this.#paging = null;
  }

  counters(): Record<string, number> {
    return {
      "fault.true": this.#faults.guest,
      "fault.hidden": this.#faults.hidden,
      "fault.traced-write": this.#faults["traced-write"],
      "fault.device": this.#faults.device,
      ...this.#pages.counters(),
      "shadow.roots.hits": this.#rootHits,
      "shadow.roots.misses": this.#rootMisses,
      "shadow.floods": this.#floods,
    };
  }

  /**
   * Derives everything again from the guest's tables, naively, and says what is wrong. `reader` reads without
   * charging; the host itself where charges do not matter.
   */
  verify(reader: ShadowReader = this.#host): string[] {
    return verifyShadow(this.#pages, this.#options, reader);
  }

  save(): SavedShadow {
    return {
      paging: this.#paging,
      pages: this.#pages.save(),
      activations: this.#activations,
      faults: { ...this.#faults },
      rootHits: this.#rootHits,
      rootMisses: this.#rootMisses,
      floods: this.#floods,
    };
  }

  /** Restores what `save` gave. Shadow tables and free frames are memory's, and restored by its owner. */
  restore(saved: SavedShadow): void {
    this.#pages.restore(saved.pages);
    this.#paging = saved.paging;
    if (saved.paging !== null) this.#context = this.#contextOf(saved.paging);
    this.#activations = saved.activations;
    Object.assign(this.#faults, saved.faults);
    this.#rootHits = saved.rootHits;
    this.#rootMisses = saved.rootMisses;
    this.#floods = saved.floods;
  }

  #contextOf(paging: GuestPaging): WalkContext {
    const host = this.#host;
    return {
      root: pageNumber(paging.cr3) * PAGE_SIZE,
      writeProtect: paging.wp,
      globalPages: false,
      fetchInErrorCode: false,
      memory: {
        readTable(address) {
          host.step("guest-level");
          return host.readGuest32(address as GuestPhysical);
        },
        updateTable(address, value) {
          host.step("guest-flags");
          host.writeGuest32(address as GuestPhysical, value);
        },
      },
      reasons: FIRST_STAGE_REASONS,
      secondStage: null,
      result: this.#result,
    };
  }

  #resolve(linear: number, write: boolean, user: boolean): ShadowFault {
    const paging = this.#paging;
    const root = this.#pages.active;
    if (paging === null || root === null) throw new Error("shadow: a fault while no root is active");
    let address = linear as GuestPhysical;
    let kind: number = SHADOW_KIND.SPLIT;
    let subject = addressBits(linear, 22, 10);
    let role = IDENTITY_ROLE;
    let leaf = BITS.write | BITS.user | BITS.dirty;
    if (paging.paging) {
      const tables = this.#tables[paging.pse ? 1 : 0];
      const access = (write ? WALK.WRITE : 0) | (user ? WALK.USER : 0);
      const found = walk(tables, this.#context, linear, access);
      if (found.outcome !== WALK_OUTCOME.TRANSLATED) return { kind: "guest", errorCode: found.errorCode };
      address = (found.pageBase + lowBits(linear, found.pageShift)) as GuestPhysical;
      const large = found.pageShift !== 12;
      const pde = found.entryLow[0] as number;
      kind = large ? SHADOW_KIND.SPLIT : SHADOW_KIND.TABLE;
      subject = large ? addressBits(found.pageBase, 22, 18) : pageNumber((pde & -PAGE_SIZE) >>> 0);
      role = childRole(pde, large, paging.wp);
      leaf = found.entryLow[large ? 0 : 1] as number;
    }
    const guestPage = pageNumber(address);
    const frame = this.#host.hostFrame(guestPage);
    // Stores to ROM are the bus's business: it loses them.
    if (frame === -1 || (write && !this.#host.isWritable(guestPage))) return { kind: "device", address };
    const child = this.#ensureChild(root, addressBits(linear, 22, 10), kind, subject, role);
    // Asked only now: making the path may have begun to trace the page, or stopped.
    if (write && this.isTraced(guestPage)) return { kind: "traced-write", address };
    const flags = this.#leafFlags(role, kind, leaf, guestPage, write && !user);
    this.#pages.map(child, addressBits(linear, 12, 10), guestPage, frame, flags);
    return HIDDEN;
  }

  /** The shadow page with this identity, found or made, and linked at `index` of `root`. */
  #ensureChild(root: ShadowPage, index: number, kind: number, subject: number, role: number): ShadowPage {
    const pages = this.#pages;
    const present = pages.child(root, index);
    if (present !== null) {
      if (present.key === shadowKey(kind, subject, role)) return present;
      pages.unlink(root, index);
    }
    const child = pages.find(kind, subject, role) ?? pages.create(kind, subject, role);
    pages.link(root, index, child);
    return child;
  }

  /**
   * Flags of a leaf under `role`, whose last guest entry is `entry` (for a SPLIT the PDE, whose rights are the
   * role's too). `supervisorWrite`: made for one, which CR0.WP clear permits to read-only pages.
   */
  #leafFlags(role: number, kind: number, entry: number, guestPage: number, supervisorWrite: boolean): number {
    const writable = (role & ROLE.WRITE) !== 0 && (entry & BITS.write) !== 0;
    const user = (role & ROLE.USER) !== 0 && (entry & BITS.user) !== 0;
    const dirty = kind === SHADOW_KIND.SPLIT ? (role & ROLE.DIRTY) !== 0 : (entry & BITS.dirty) !== 0;
    const mayWrite = writable || (supervisorWrite && (role & ROLE.WP) === 0);
    let flags = BITS.present | BITS.accessed;
    if (mayWrite && dirty && !this.isTraced(guestPage) && this.#host.isWritable(guestPage)) flags |= LEAF_WRITABLE;
    if (user && (writable || (flags & BITS.write) === 0)) flags |= BITS.user;
    return flags;
  }

  /** Brings up to date what was made from the guest entry at `address`. */
  #entryChanged(traced: TracedPage, address: number): void {
    const entry = this.#host.readGuest32(address as GuestPhysical) | 0;
    const index = addressBits(address, 2, 10);
    // A shadow page may be released on the way, by a change in another that refers to it.
    for (const page of [...traced.pages]) {
      if (!this.#pages.lives(page)) continue;
      this.#host.step("examine");
      if (page.kind === SHADOW_KIND.DIRECTORY) this.#directoryEntryChanged(page, index, entry);
      else this.#tableEntryChanged(page, index, entry);
    }
  }

  /** A PDE: the link stays if it would be made again, or goes; a new one is made if its shadow page exists. */
  #directoryEntryChanged(page: ShadowPage, index: number, entry: number): void {
    const pages = this.#pages;
    const level = this.#tables[(page.role & ROLE.PSE) !== 0 ? 1 : 0].levels[0] as Level;
    const large = (entry & level.large) !== 0;
    const used = (entry & BITS.present) !== 0 && (entry & BITS.accessed) !== 0;
    const usable = used && (entry & (large ? level.reservedLargeLow : level.reservedLow)) === 0;
    const subject = large
      ? addressBits(largePageBase(level, entry, 0), 22, 18)
      : pageNumber((entry & -PAGE_SIZE) >>> 0);
    const kind = large ? SHADOW_KIND.SPLIT : SHADOW_KIND.TABLE;
    const role = childRole(entry, large, (page.role & ROLE.WP) !== 0);
    const child = pages.child(page, index);
    if (child !== null) {
      if (usable && child.key === shadowKey(kind, subject, role)) return;
      pages.unlink(page, index);
    }
    if (!usable) return;
    const next = pages.find(kind, subject, role);
    if (next !== null) pages.link(page, index, next);
  }

  /** A PTE: what is no longer present or used goes; what is, is made as its next use would make it. */
  #tableEntryChanged(page: ShadowPage, index: number, entry: number): void {
    const pages = this.#pages;
    const guestPage = pageNumber((entry & -PAGE_SIZE) >>> 0);
    const used = (entry & BITS.present) !== 0 && (entry & BITS.accessed) !== 0;
    const frame = used ? this.#host.hostFrame(guestPage) : -1;
    if (frame === -1) {
      if (page.entries.has(index)) pages.zap(page, index);
      return;
    }
    const flags = this.#leafFlags(page.role, page.kind, entry, guestPage, false);
    if (page.entries.get(index) === guestPage) {
      const address = (page.frame * PAGE_SIZE + index * 4) as HostPhysical;
      if ((this.#host.readTable(address) | 0) === ((frame << 12) | flags)) return;
    }
    pages.map(page, index, guestPage, frame, flags);
  }

  /** Counts a store to a traced page, and stops tracing a page that is evidently no table any more. */
  #countWrite(guestPage: number, traced: TracedPage): void {
    let reached = 0;
    for (const page of traced.pages) {
      reached = Math.max(reached, page.activated);
      for (const address of page.parents) {
        reached = Math.max(reached, (this.#pages.byFrame.get(address >>> 12) as ShadowPage).activated);
      }
    }
    if (reached === this.#activations) traced.writes = 0;
    else traced.writes = reached === traced.reached ? traced.writes + 1 : 1;
    traced.reached = reached;
    if (traced.writes < this.#floodLimit) return;
    this.#floods++;
    this.#pages.releaseGuestPage(guestPage);
  }
}

/** Role of the shadow page under a guest PDE. */
function childRole(pde: number, large: boolean, wp: boolean): number {
  return (
    ((pde & BITS.write) !== 0 ? ROLE.WRITE : 0) |
    ((pde & BITS.user) !== 0 ? ROLE.USER : 0) |
    (large && (pde & BITS.dirty) !== 0 ? ROLE.DIRTY : 0) |
    (wp ? ROLE.WP : 0)
  );
}
