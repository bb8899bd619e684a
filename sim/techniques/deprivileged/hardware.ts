/**
 * The registers with which the processor runs a de-privileged guest. The monitor writes them with the core's own code
 * and at its price; the instructions that do so are not fetched, because the roots of the shadow tables come and go
 * meanwhile.
 */
import type { Core } from "../../cpu/core.ts";
import type { CostName } from "../../cpu/profiles/profile.ts";
import {
  BUSY_TSS,
  CELL,
  CR0,
  CR4,
  EFER,
  FLAT_CODE,
  FLAT_DATA,
  FLAT_LIMIT,
  GPR,
  OUTCOME,
  RIGHTS,
  SEG,
} from "../../cpu/state.ts";
import { writeControl } from "../../cpu/system/control.ts";
import { executeDisable } from "../../cpu/system/msr.ts";
import { DATA_SEGMENTS } from "./arrival.ts";
import { GATE, REGION_PAGE, regionAddress, SELECTOR } from "./layout.ts";
import { type MonitorRegion, TSS_LIMIT } from "./region.ts";

const LDT_RIGHTS = RIGHTS.P | 2;
/** Bits of the guest's control registers that are the processor's too. */
const GUEST_CR0 = CR0.MP | CR0.EM | CR0.TS | CR0.AM;
const GUEST_CR4 = CR4.TSD | CR4.PCE | CR4.OSFXSR | CR4.OSXMMEXCPT;
const MONITOR_CR0 = CR0.PE | CR0.PG | CR0.WP | CR0.NE | CR0.ET;
/** Pages of which the translations are dropped one by one; more of them, and all are. */
const FEW_PAGES = 16;
const PAGE_BYTES = 4096;

export class Hardware {
  readonly #core: Core;
  readonly #region: MonitorRegion;
  /** Linear pages whose translations in the TLB are out of date; null: all may be. */
  #lost: Set<number> | null = new Set();

  constructor(core: Core, region: MonitorRegion) {
    this.#core = core;
    this.#region = region;
  }

  /** The processor as the monitor has it before the first entry; general registers are left alone but for ESP. */
  begin(): void {
    const { state, env, mmu } = this.#core;
    state.set(CELL.cr0, MONITOR_CR0);
    state.set(CELL.cr4, 0);
    this.takeBack();
    for (const segment of DATA_SEGMENTS) state.setSegment(segment, SELECTOR.data, 0, FLAT_LIMIT, FLAT_DATA);
    state.setSegment(SEG.ldtr, 0, 0, 0, RIGHTS.UNUSABLE);
    state.setSegment(SEG.tr, SELECTOR.tss, this.#region.tss, TSS_LIMIT, BUSY_TSS);
    state.set(CELL.gdtrBase, regionAddress(REGION_PAGE.gdt));
    state.set(CELL.gdtrLimit, 0xffff);
    state.set(CELL.idtrBase, this.#region.idt);
    state.set(CELL.idtrLimit, 0x7ff);
    state.set(CELL.dr7, 0x400);
    state.set(CELL.activity, 0);
    state.set(CELL.sysenterCs, 0);
    state.set(CELL.sysenterEsp, this.#region.stackTop);
    state.set(CELL.sysenterEip, regionAddress(REGION_PAGE.gate) + GATE.sysenter);
    state.set(CELL.efer, executeDisable(state, env.profile) ? EFER.NXE : 0);
    mmu.pagingChanged();
  }

  /** A translation of the active root has gone or lost a right (ShadowHost.lost). */
  lost(linear: number, bytes: number): void {
    if (this.#lost === null) return;
    if (bytes === PAGE_BYTES && this.#lost.size < FEW_PAGES) this.#lost.add(linear);
    else this.#lost = null;
  }

  /** Control registers for a guest with these of its own, on the shadow root `root`. */
  load(guestCr0: number, guestCr4: number, root: number, pae: boolean, timeStampTraps: boolean): void {
    const { state } = this.#core;
    const cr0 = MONITOR_CR0 | (guestCr0 & GUEST_CR0);
    const cr4 = (guestCr4 & GUEST_CR4) | (pae ? CR4.PAE : 0) | (timeStampTraps ? CR4.TSD : 0);
    if (((state.cr4 ^ cr4) & CR4.PAE) !== 0) {
      // Between tables of two formats a monitor goes by a page that has both; that takes no more than this.
      state.set(CELL.cr3, root);
      this.#lost = null;
    }
    if (state.cr4 !== cr4) this.#write(4, cr4, "writeCr4");
    if (this.#lost === null || (state.get(CELL.cr3) | 0) !== (root | 0)) {
      this.#write(3, root, "writeCr3");
      this.#lost = new Set();
    } else {
      this.#flushLost();
    }
    if (state.cr0 !== cr0) this.#write(0, cr0, "writeCr0");
  }

  /** Any translation may be out of date, and the pointers of PAE paging too. */
  loseAll(): void {
    this.#lost = null;
  }

  /** Control comes to the monitor although the guest runs, by an interrupt that nobody has to be told of. */
  takeBack(): void {
    const { state } = this.#core;
    state.set(CELL.rflags, 2);
    state.set(CELL.cpl, 0);
    state.setSegment(SEG.cs, SELECTOR.code, 0, FLAT_LIMIT, FLAT_CODE);
    state.setSegment(SEG.ss, SELECTOR.data, 0, FLAT_LIMIT, FLAT_DATA);
    state.set(CELL.interruptibility, 0);
    state.set(CELL.pendingDebug, 0);
    state.set(CELL.repeating, 0);
    state.set(GPR.esp, this.#region.stackTop);
  }

  /** LDTR for a shadow LDT of so many entries. */
  loadLdt(entries: number): void {
    const { state, env } = this.#core;
    const limit = entries * 8 - 1;
    const selector = entries === 0 ? 0 : SELECTOR.ldt;
    if (state.selector(SEG.ldtr) === selector && (entries === 0 || state.segmentLimit(SEG.ldtr) === limit)) return;
    if (entries === 0) state.setSegment(SEG.ldtr, 0, 0, 0, RIGHTS.UNUSABLE);
    else state.setSegment(SEG.ldtr, selector, regionAddress(REGION_PAGE.ldt), limit, LDT_RIGHTS);
    env.charge("lldt");
  }

  /** Whether SYSENTER leads into the monitor; it is #GP while the guest has not set it up. */
  openSysenter(open: boolean): void {
    const { state, env } = this.#core;
    const selector = open ? SELECTOR.code : 0;
    if (state.get(CELL.sysenterCs) === selector) return;
    state.set(CELL.sysenterCs, selector);
    env.charge("wrmsr");
  }

  /** SS of the monitor with this base, until its next return. */
  shiftStack(base: number): void {
    const { state, env } = this.#core;
    this.#region.shiftStack(base);
    state.setSegment(SEG.ss, SELECTOR.shiftedStack, base, FLAT_LIMIT, FLAT_DATA);
    env.charge("segmentLoad");
  }

  save(): { readonly lost: readonly number[] | null } {
    return { lost: this.#lost === null ? null : [...this.#lost] };
  }

  restore(saved: { readonly lost: readonly number[] | null }): void {
    this.#lost = saved.lost === null ? null : new Set(saved.lost);
  }

  #flushLost(): void {
    const { env } = this.#core;
    if (this.#lost === null || this.#lost.size === 0) return;
    for (const linear of this.#lost) {
      env.flushPage(linear);
      env.charge("invlpg");
    }
    this.#lost.clear();
  }

  #write(register: 0 | 3 | 4, value: number, cost: CostName): void {
    const { state, env } = this.#core;
    env.charge(cost);
    writeControl(state, env, register, value, 0);
    if (state.signal.outcome === OUTCOME.NONE) return;
    throw new Error(
      `monitor: CR${register} does not take ${(value >>> 0).toString(16)} (vector ${state.signal.vector})`,
    );
  }
}
