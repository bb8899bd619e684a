/**
 * Shadow page tables: the tables that the processor walks while a guest runs, derived from the guest's own (SDM
 * vol. 3, 4.3 and 4.4: 32-bit paging with 4 KB and 4 MB pages, PAE paging with 4 KB and 2 MB pages) or, while the guest
 * has paging off, from nothing. The guest's tables say which guest-physical page, the pmap says where that is. Shadow
 * tables have the guest's format, and 32-bit paging's without any: `usesPae` says what the processor must run with.
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
 * A large page is split into a shadow table of 4 KB entries, so that single pages of it can be traced.
 *
 * PAE paging. The roots are the directories that the guest's four PDPTE registers refer to; its pointer table in memory
 * is nobody's business, and not traced: the guest's processor, and so the monitor, reads it when CR3 is loaded. A guest
 * updates an entry in two stores of 32 bits; each is a change of the whole entry to what memory then holds, as the
 * guest's own processor could see it. Execute-disable is kept in the leaves, like all rights, and needs the processor to
 * run with IA32_EFER.NXE set whatever the guest has there: without it the guest has bit 63 reserved, and no entry is
 * made from one that has it. Error codes are made from the guest's NXE.
 *
 * Tables that turn into something else. A page table is let go with the last directory entry that refers to it. A
 * directory (or a table under one) of an address space that has ended gives no such sign; its page is traced until
 * `floodLimit` stores in a row have gone to it while the active root does not reach it, and no root that reaches it
 * has been active in between. A table that the active root reaches is never let go, however many stores it gets: a kernel
 * that rewrites the table it runs on would take a fault per store *and* rebuild the table.
 *
 * A monitor that lives in the guest's linear space (ShadowRegion) has the top 4 MB of every root: what the guest's tables say
 * of them is never shadowed, and an access there has to be emulated. It enters the guest by IRET, which flushes nothing:
 * it hears of each translation that the active root loses (ShadowHost.lost), and with that knowledge needs no other flush.
 *
 * Simplified: guest tables in device memory cannot be traced; what is made from them stays, as a TLB entry would,
 * until INVLPG or the next activation. Shadow entries never have G set: it is of no use where every VM entry flushes
 * the TLB.
 */
import {
  addressBits,
  type GuestPhysical,
  type HostPhysical,
  lowBits,
  PAGE_SIZE,
  pageNumber,
  pageNumberAt,
} from "./address.ts";
import { type Level, PAGING_32, PAGING_PAE, type Tables, tablesOf } from "./page-tables.ts";
import { REGION_BASE, type ShadowHost, type ShadowRegion } from "./shadow-host.ts";
import {
  entryAddress,
  entryBytes,
  LEAF_NO_EXECUTE,
  LEAF_WRITABLE,
  ROLE,
  regionLinks,
  type SavedShadowPages,
  SHADOW_KIND,
  type ShadowPage,
  ShadowPages,
  shadowKey,
} from "./shadow-pages.ts";
import type { TracedPage } from "./shadow-tracing.ts";
import { type ShadowReader, verifyShadow } from "./shadow-verify.ts";
import {
  entryTarget,
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
  /** Where the monitor is in the guest's linear space; left out if it has a space of its own. */
  readonly region?: ShadowRegion;
}

/** What of the guest's control registers decides its translations. */
export interface GuestPaging {
  /** CR0.PG. */
  readonly paging: boolean;
  readonly cr3: number;
  /** CR0.WP. */
  readonly wp: boolean;
  /** CR4.PSE, which PAE paging does not look at. */
  readonly pse: boolean;
  /** With CR0.PG and CR4.PAE; null without. */
  readonly pae: PaePaging | null;
}

export interface PaePaging {
  /** IA32_EFER.NXE. */
  readonly nxe: boolean;
  /** The four PDPTE registers. */
  readonly pdptes: readonly (readonly [low: number, high: number])[];
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
  | { readonly kind: "device"; readonly address: GuestPhysical }
  /** Permitted, but the monitor's region is at this linear address: emulate the access. */
  | { readonly kind: "region"; readonly address: GuestPhysical };

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
/** What a shadow page has of the role of the directory above it. */
const INHERITED_ROLE = ROLE.WP | ROLE.PAE | ROLE.NXE;
/** Bytes of guest entries. */
const ENTRY_SIZES = [4, 8] as const;

export class Shadow {
  readonly #host: ShadowHost;
  readonly #floodLimit: number;
  readonly #options: ShadowOptions;
  /** 32-bit paging by CR4.PSE, PAE paging by IA32_EFER.NXE. */
  readonly #tables: readonly [without: Tables, withPse: Tables];
  readonly #paeTables: readonly [without: Tables, withNxe: Tables];
  readonly #pages: ShadowPages;
  readonly #result = new WalkResult();
  readonly #faults: Record<ShadowFault["kind"], number> = {
    hidden: 0,
    guest: 0,
    "traced-write": 0,
    device: 0,
    region: 0,
  };
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
    this.#paeTables = [
      tablesOf(PAGING_PAE, { physicalAddressBits, nxe: false }),
      tablesOf(PAGING_PAE, { physicalAddressBits, nxe: true }),
    ];
    this.#pages = new ShadowPages(host, options.region ?? null);
    this.#context = this.#contextOf({ paging: false, cr3: 0, wp: false, pse: false, pae: null });
  }

  /**
   * Makes the shadow of the guest's present address space the active one and returns its root, for the processor's
   * CR3. To be called whenever one of the values may have changed: MOV CR0, CR3 and CR4, WRMSR IA32_EFER.
   */
  activate(paging: GuestPaging): HostPhysical {
    const pages = this.#pages;
    for (const page of pages.tracing.untraceable) pages.release(page);
    this.#paging = { ...paging };
    this.#context = this.#contextOf(paging);
    if (paging.pae !== null) return this.#activatePae(paging, paging.pae);
    const kind = paging.paging ? SHADOW_KIND.DIRECTORY : SHADOW_KIND.IDENTITY;
    const subject = paging.paging ? pageNumber(paging.cr3) : 0;
    const role = this.#top() | (paging.paging ? (paging.wp ? ROLE.WP : 0) | (paging.pse ? ROLE.PSE : 0) : 0);
    const before = pages.active[0] ?? null;
    const root = this.#root(kind, subject, role);
    if (pages.active.length > 1 || root !== before) this.#host.step("root-switch");
    pages.active = [root];
    root.activated = ++this.#activations;
    return (root.frame * PAGE_SIZE) as HostPhysical;
  }

  /** A root for each pointer entry that is present, and the pointer table, whose address is the processor's CR3. */
  #activatePae(paging: GuestPaging, { nxe, pdptes }: PaePaging): HostPhysical {
    const pages = this.#pages;
    const level = this.#paeTables[0].levels[0] as Level;
    const role = ROLE.PAE | (paging.wp ? ROLE.WP : 0) | (nxe ? ROLE.NXE : 0);
    const before = pages.active;
    // One by one, so that none of the new ones is evicted for the next; the old ones may be.
    pages.active = pdptes.map(() => null);
    const activation = ++this.#activations;
    for (const [n, [low, high]] of pdptes.entries()) {
      const present = (low & BITS.present) !== 0;
      const top = n === pdptes.length - 1 ? this.#top() : 0;
      if (!present && top === 0) continue;
      const root = present
        ? this.#root(SHADOW_KIND.DIRECTORY, pageNumber(entryTarget(level, low, high)), role | top)
        : this.#root(SHADOW_KIND.REGION, 0, ROLE.PAE | top);
      root.activated = activation;
      pages.active = pages.active.map((other, index) => (index === n ? root : other));
    }
    const switched = before.length !== pdptes.length || pages.active.some((root, n) => root !== before[n]);
    if (switched) this.#host.step("root-switch");
    return pages.pointerTable();
  }

  /** What the role of a root over the top of linear space has besides. */
  #top(): number {
    return this.#pages.region === null ? 0 : ROLE.TOP;
  }

  #root(kind: number, subject: number, role: number): ShadowPage {
    const root = this.#pages.find(kind, subject, role);
    if (root !== null) {
      this.#rootHits++;
      return root;
    }
    this.#rootMisses++;
    return this.#pages.create(kind, subject, role);
  }

  /** Whether the active shadow tables are in the format of PAE paging: what the processor must have in CR4. */
  get usesPae(): boolean {
    return this.#paging !== null && this.#paging.pae !== null;
  }

  /**
   * Handles a page fault that the processor took on the active shadow tables, at `linear` with `errorCode` (SDM
   * vol. 3, 4.7; only W/R, U/S and I/D matter). Walks the guest's tables as its processor would, A and D flags included.
   */
  fault(linear: number, errorCode: number): ShadowFault {
    const outcome = this.#resolve(linear, errorCode);
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
      const { traced, watched } = this.#pages.tracing;
      const tables = traced.get(guestPage);
      if (tables === undefined && !watched.has(guestPage)) continue;
      const from = Math.max(address, guestPage * PAGE_SIZE);
      const to = Math.min(end, (guestPage + 1) * PAGE_SIZE);
      if (tables !== undefined) {
        for (const bytes of ENTRY_SIZES) {
          if (!tables.pages.some((page) => entryBytes(page.role) === bytes)) continue;
          for (let at = from - (from % bytes); at < to; at += bytes) this.#entryChanged(tables, at, bytes);
        }
        this.#countWrite(guestPage, tables);
      }
      if (watched.has(guestPage)) this.#host.watchedWrite?.(from as GuestPhysical, to - from);
    }
  }

  /** A or D was set in the guest entry at `address` by a walk that is not the shadow's own: watchers hear of it. */
  marked(address: GuestPhysical): void {
    if (this.#pages.tracing.watched.has(pageNumber(address))) this.#host.watchedWrite?.(address, 4);
  }

  /**
   * The monitor wants to hear of every store to a guest-physical page from now on (ShadowHost.watchedWrite), as often as it
   * says so: the guest's stores to it are traced writes. Pages outside RAM have nothing to be heard.
   */
  watch(guestPage: number): void {
    this.#pages.tracing.watch(guestPage);
  }

  /** Takes back one `watch`. */
  unwatch(guestPage: number): void {
    this.#pages.tracing.unwatch(guestPage);
  }

  /** INVLPG: only what was made from tables outside RAM can be out of date. */
  invalidate(linear: number): void {
    const pages = this.#pages;
    const root = pages.activeRoot(linear);
    if (root === null || pages.tracing.untraceable.size === 0) return;
    const [directory, table] = this.#levels(root.role);
    const directoryIndex = addressBits(linear, directory.indexLow, directory.indexBits);
    const child = pages.child(root, directoryIndex);
    if (child === null) return;
    const index = addressBits(linear, table.indexLow, table.indexBits);
    if (pages.tracing.untraceable.has(root)) pages.unlink(root, directoryIndex);
    else if (pages.tracing.untraceable.has(child) && child.entries.has(index)) pages.zap(child, index);
  }

  /** Whether stores to this guest-physical page must be emulated. */
  isTraced(guestPage: number): boolean {
    return this.#pages.tracing.isTraced(guestPage);
  }

  /** Releases everything but what is watched. `activate` comes next. */
  reset(): void {
    this.#pages.reset();
    this.#paging = null;
  }

  counters(): Record<string, number> {
    return {
      "fault.true": this.#faults.guest,
      "fault.hidden": this.#faults.hidden,
      "fault.traced-write": this.#faults["traced-write"],
      "fault.device": this.#faults.device,
      ...(this.#pages.region === null ? {} : { "fault.region": this.#faults.region }),
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
    const marked = (address: GuestPhysical): void => this.marked(address);
    return {
      root: pageNumber(paging.cr3) * PAGE_SIZE,
      writeProtect: paging.wp,
      globalPages: false,
      fetchInErrorCode: paging.pae?.nxe === true,
      ...(paging.pae === null ? {} : { pdptes: paging.pae.pdptes }),
      memory: {
        readTable(address, reason) {
          // The second word of an entry comes with the first.
          if (reason >= 0) host.step("guest-level");
          return host.readGuest32(address as GuestPhysical);
        },
        updateTable(address, value) {
          host.step("guest-flags");
          host.writeGuest32(address as GuestPhysical, value);
          marked(address as GuestPhysical);
        },
      },
      reasons: FIRST_STAGE_REASONS,
      secondStage: null,
      result: this.#result,
    };
  }

  /** Tables of the guest's format as a root with this role reads them. */
  #tablesOf(role: number): Tables {
    if ((role & ROLE.PAE) !== 0) return this.#paeTables[(role & ROLE.NXE) !== 0 ? 1 : 0];
    return this.#tables[(role & ROLE.PSE) !== 0 ? 1 : 0];
  }

  /** The level of directories and that of tables. */
  #levels(role: number): readonly [directory: Level, table: Level] {
    const { levels } = this.#tablesOf(role);
    return [levels[levels.length - 2] as Level, levels[levels.length - 1] as Level];
  }

  #resolve(linear: number, errorCode: number): ShadowFault {
    const paging = this.#paging;
    if (paging === null) throw new Error("shadow: a fault while no root is active");
    const write = (errorCode & PF.WR) !== 0;
    const user = (errorCode & PF.US) !== 0;
    const root = this.#pages.activeRoot(linear);
    let address = linear as GuestPhysical;
    let kind: number = SHADOW_KIND.SPLIT;
    let subject = addressBits(linear, 22, 10);
    let role = IDENTITY_ROLE;
    let leaf = BITS.write | BITS.user | BITS.dirty;
    let leafHigh = 0;
    if (paging.paging) {
      const tables = paging.pae === null ? this.#tables[paging.pse ? 1 : 0] : this.#paeTables[paging.pae.nxe ? 1 : 0];
      const access = (write ? WALK.WRITE : 0) | (user ? WALK.USER : 0) | ((errorCode & PF.ID) !== 0 ? WALK.FETCH : 0);
      const found = walk(tables, this.#context, linear, access);
      if (found.outcome !== WALK_OUTCOME.TRANSLATED) return { kind: "guest", errorCode: found.errorCode };
      address = (found.pageBase + lowBits(linear, found.pageShift)) as GuestPhysical;
      const large = found.pageShift !== 12;
      const at = tables.levels.length - 2;
      const pde = found.entryLow[at] as number;
      const pdeHigh = found.entryHigh[at] as number;
      kind = large ? SHADOW_KIND.SPLIT : SHADOW_KIND.TABLE;
      subject = large
        ? pageNumberAt(found.pageBase, found.pageShift)
        : pageNumber(entryTarget(tables.levels[at] as Level, pde, pdeHigh));
      role = childRole(pde, pdeHigh, large, (root as ShadowPage).role);
      leaf = found.entryLow[large ? at : at + 1] as number;
      leafHigh = found.entryHigh[large ? at : at + 1] as number;
    }
    if (this.#pages.region !== null && linear >= REGION_BASE) return { kind: "region", address };
    if (root === null) throw new Error("shadow: a fault while no root is active");
    const [directory, table] = this.#levels(root.role);
    const guestPage = pageNumber(address);
    const frame = this.#host.hostFrame(guestPage);
    // Stores to ROM are the bus's business: it loses them.
    if (frame === -1 || (write && !this.#host.isWritable(guestPage))) return { kind: "device", address };
    const directoryIndex = addressBits(linear, directory.indexLow, directory.indexBits);
    const child = this.#ensureChild(root, directoryIndex, kind, subject, role);
    // Asked only now: making the path may have begun to trace the page, or stopped.
    if (write && this.isTraced(guestPage)) return { kind: "traced-write", address };
    const flags = this.#leafFlags(role, kind, leaf, guestPage, write && !user);
    const index = addressBits(linear, table.indexLow, table.indexBits);
    this.#pages.map(child, index, guestPage, frame, flags, leafHighWord(role, leafHigh));
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

  /** Brings up to date what was made from the guest entry of `bytes` bytes at `address`. */
  #entryChanged(traced: TracedPage, address: number, bytes: number): void {
    const low = this.#host.readGuest32(address as GuestPhysical) | 0;
    const high = bytes === 8 ? this.#host.readGuest32((address + 4) as GuestPhysical) | 0 : 0;
    const index = (address % PAGE_SIZE) / bytes;
    // A shadow page may be released on the way, by a change in another that refers to it.
    for (const page of [...traced.pages]) {
      if (!this.#pages.lives(page) || entryBytes(page.role) !== bytes) continue;
      this.#host.step("examine");
      if (page.kind === SHADOW_KIND.DIRECTORY) this.#directoryEntryChanged(page, index, low, high);
      else this.#tableEntryChanged(page, index, low, high);
    }
  }

  /** A PDE: the link stays if it would be made again, or goes; a new one is made if its shadow page exists. */
  #directoryEntryChanged(page: ShadowPage, index: number, low: number, high: number): void {
    const pages = this.#pages;
    if ((page.role & ROLE.TOP) !== 0 && index >= regionLinks(page.role, pages.region)[0]) return;
    const [level] = this.#levels(page.role);
    const large = (low & level.large) !== 0;
    const used = (low & BITS.present) !== 0 && (low & BITS.accessed) !== 0;
    const usable = used && !reservedSet(level, large, low, high);
    const subject = large
      ? pageNumberAt(largePageBase(level, low, high), level.pageShift)
      : pageNumber(entryTarget(level, low, high));
    const kind = large ? SHADOW_KIND.SPLIT : SHADOW_KIND.TABLE;
    const role = childRole(low, high, large, page.role);
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
  #tableEntryChanged(page: ShadowPage, index: number, low: number, high: number): void {
    const pages = this.#pages;
    const [, level] = this.#levels(page.role);
    const guestPage = pageNumber(entryTarget(level, low, high));
    const used = (low & BITS.present) !== 0 && (low & BITS.accessed) !== 0 && !reservedSet(level, false, low, high);
    const frame = used ? this.#host.hostFrame(guestPage) : -1;
    if (frame === -1) {
      if (page.entries.has(index)) pages.zap(page, index);
      return;
    }
    const flags = this.#leafFlags(page.role, page.kind, low, guestPage, false);
    const upper = leafHighWord(page.role, high);
    if (page.entries.get(index) === guestPage) {
      const address = entryAddress(page, index);
      const same = (this.#host.readTable(address) | 0) === ((frame << 12) | flags);
      const wide = (page.role & ROLE.PAE) !== 0;
      if (same && (!wide || (this.#host.readTable((address + 4) as HostPhysical) | 0) === upper)) return;
    }
    pages.map(page, index, guestPage, frame, flags, upper);
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

/** Role of the shadow page under a guest PDE, whose directory has role `root`. */
function childRole(low: number, high: number, large: boolean, root: number): number {
  return (
    ((low & BITS.write) !== 0 ? ROLE.WRITE : 0) |
    ((low & BITS.user) !== 0 ? ROLE.USER : 0) |
    (large && (low & BITS.dirty) !== 0 ? ROLE.DIRTY : 0) |
    (high < 0 ? ROLE.NX : 0) |
    (root & INHERITED_ROLE)
  );
}

/** Upper word of a leaf under `role`, whose last guest entry has this upper word, which nothing reserved is in. */
function leafHighWord(role: number, high: number): number {
  return (role & ROLE.NX) !== 0 || high < 0 ? LEAF_NO_EXECUTE : 0;
}

function reservedSet(level: Level, large: boolean, low: number, high: number): boolean {
  const reserved = large
    ? (low & level.reservedLargeLow) | (high & level.reservedLargeHigh)
    : (low & level.reservedLow) | (high & level.reservedHigh);
  return reserved !== 0;
}
