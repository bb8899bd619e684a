/**
 * Whether the processor can run the guest as it is, de-privileged: its user code as it stands, its kernel's as it stands
 * (classical) or translated. Where it cannot, the guest is emulated (guest-emulation.ts).
 */
import { BLOCKING, CELL, type CpuState, CR4, FLAG, RIGHTS, SEG, SEGMENT_NAMES } from "../../cpu/state.ts";
import { breakpointWatches } from "../../cpu/system/breakpoints.ts";
import { inRealMode, inVirtual8086 } from "../../cpu/system/checks.ts";
import { virtualInterruptDue } from "../../cpu/system/virtual8086.ts";
import type { RunConditions } from "../guest-emulation.ts";
import { DATA_SEGMENTS } from "./arrival.ts";
import type { Translator } from "./kernel-code.ts";
import { REGION_BASE } from "./layout.ts";
import type { ShadowDescriptors } from "./shadow-descriptors.ts";
import { truncatedDescriptor } from "./truncate.ts";

export class DirectConditions implements RunConditions {
  /** A debugger has breakpoints, which only the emulator meets. */
  breakpoints = false;
  /** Linear address at which there is nothing to translate, for as long as the guest stays there; or -1. */
  #noCode = -1;
  readonly #virtual: CpuState;
  readonly #descriptors: ShadowDescriptors;
  readonly #translator: Translator | null;

  constructor(virtual: CpuState, descriptors: ShadowDescriptors, translator: Translator | null) {
    this.#virtual = virtual;
    this.#descriptors = descriptors;
    this.#translator = translator;
  }

  obstacle(): string | null {
    return this.#ofCode() ?? this.#ofMode() ?? this.#ofEvents() ?? this.#ofSegments();
  }

  /** The translator has found no code at CS:EIP: the guest's own fetch will say why. */
  lackCode(): void {
    this.#noCode = this.#linear();
  }

  save(): string | null {
    return this.#noCode < 0 ? null : String(this.#noCode);
  }

  restore(saved: string | null): void {
    this.#noCode = saved === null ? -1 : Number(saved);
  }

  #linear(): number {
    return (this.#virtual.segmentBase(SEG.cs) + this.#virtual.eip) >>> 0;
  }

  #ofCode(): string | null {
    if (this.#noCode < 0) return null;
    if (this.#linear() === this.#noCode) return "code that cannot be fetched";
    this.#noCode = -1;
    return null;
  }

  #ofMode(): string | null {
    const virtual = this.#virtual;
    const { cr4, flags, cpl } = virtual;
    // Translated, it is code of CPL 0 with segments of its own.
    if (inRealMode(virtual)) return this.#translator === null ? "real-address mode" : null;
    // The processor runs it at an IOPL of 0, at which what IOPL guards traps.
    if (inVirtual8086(virtual)) return null;
    if (cpl === 1 || cpl === 2) return `ring ${cpl}`;
    if (this.#translator?.runs(cpl) === true) return null;
    if (cpl === 3 && (cr4 & CR4.PVI) !== 0) return "protected-mode virtual interrupts";
    // What the processor would let it do at CPL 3 that it must not let it: IN, OUT, CLI, STI.
    if (cpl === 3 && (flags & FLAG.IOPL) === FLAG.IOPL) return "IOPL 3 at CPL 3";
    return null;
  }

  #ofEvents(): string | null {
    const virtual = this.#virtual;
    // Code that runs as it stands is stepped by the processor.
    if ((virtual.flags & FLAG.TF) !== 0 && this.#translator?.runs(virtual.cpl) === true) return "single step";
    if (virtualInterruptDue(virtual)) return "a virtual interrupt is due";
    const blocking = virtual.get(CELL.interruptibility);
    if ((blocking & BLOCKING.NMI) !== 0) return "blocking by NMI";
    if ((blocking & (BLOCKING.STI | BLOCKING.MOV_SS)) !== 0) return "interrupt shadow";
    if (this.breakpoints) return "breakpoints of a debugger";
    return breakpointWatches(virtual) === 0 ? null : "breakpoints";
  }

  #ofSegments(): string | null {
    const translator = this.#translator;
    const virtual = this.#virtual;
    if (translator?.runs(virtual.cpl) === true) {
      const stack = {
        base: virtual.segmentBase(SEG.ss),
        limit: virtual.segmentLimit(SEG.ss),
        rights: virtual.segmentRights(SEG.ss) | RIGHTS.ACCESSED,
      };
      return truncatedDescriptor(stack)[1] === 0 ? "ss: no descriptor" : null;
    }
    if (inVirtual8086(virtual)) return virtual.eip > virtual.segmentLimit(SEG.cs) ? "code beyond the limit" : null;
    this.#descriptors.refresh();
    for (const segment of [SEG.cs, SEG.ss, ...DATA_SEGMENTS]) {
      if (!this.#descriptors.agrees(segment)) return `${SEGMENT_NAMES[segment]}: not its descriptor`;
    }
    if (virtual.eip >= REGION_BASE - virtual.segmentBase(SEG.cs)) return "code beyond the truncated limit";
    if (virtual.cpl !== 3) return null;
    // The return to CPL 3 would empty it.
    const inner = DATA_SEGMENTS.find((segment) => {
      const rights = virtual.segmentRights(segment);
      const conforming = (rights & (RIGHTS.CODE | RIGHTS.EXPAND_DOWN_OR_CONFORMING)) === 0xc;
      return (rights & RIGHTS.UNUSABLE) === 0 && !conforming && ((rights >>> RIGHTS.DPL_SHIFT) & 3) !== 3;
    });
    return inner === undefined ? null : `${SEGMENT_NAMES[inner]}: of an inner ring`;
  }
}
