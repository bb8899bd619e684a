/**
 * A de-privileged guest's kernel as translated code: the translator, its cache and what both need of the monitor, behind
 * the interface by which the monitor runs code that does not run as it stands (deprivileged/kernel-code.ts).
 *
 * The guest enters the cache at the unit of its CS:EIP, or behind the instruction that a unit had left to the monitor. What
 * a call-out asked for is done when the guest next enters: by then it is known where it has gone.
 */
import { TICKS_PER_CYCLE } from "../../clock.ts";
import { ACCESS } from "../../cpu/environment.ts";
import {
  BLOCKING,
  CELL,
  type CpuState,
  FLAG,
  gprCell,
  RIGHTS,
  SEG,
  STATUS_FLAGS,
  selectorCell,
  X87,
} from "../../cpu/state.ts";
import { segmentsAs8086 } from "../../cpu/system/checks.ts";
import { APIC } from "../../devices/lapic.ts";
import type { Account } from "../../ledger.ts";
import { PAGE_SHIFT, PAGE_SIZE, pageNumber, pageOffset } from "../../memory/address.ts";
import type { Translator as KernelTranslator, CallOut as Wish } from "../deprivileged/kernel-code.ts";
import { REGION_PAGE } from "../deprivileged/layout.ts";
import type { TranslatorParts } from "../deprivileged/wiring.ts";
import { Adaptation, type FaultKind, type SavedAdaptation } from "./adaptation.ts";
import { type SavedCache, TranslationCache, type Unit } from "./cache.ts";
import { CACHE_BASE, DATA } from "./layout.ts";
import type { BtParameters } from "./parameters.ts";
import { beginningOf } from "./points.ts";
import { fetchAccess, type SavedSource, SourcePages } from "./source-pages.ts";
import {
  type CallOut,
  CODE_CLASSES,
  type CodeContext,
  type RegisterOperand,
  repair,
  sameContext,
} from "./translation.ts";
import { Translator } from "./translator.ts";
import { VirtualData } from "./virtual-data.ts";

interface Fault {
  readonly linear: number;
  readonly cause: string;
  /** It was for the task-priority register. */
  readonly taskPriority: boolean;
}

/** What the last call-out or fault leaves to do at the next entry. */
interface Unfinished {
  /** Unit and call-out that the guest came from; its direct branch is chained, its indirect one remembered. */
  from: { readonly unit: Unit; readonly callOut: CallOut } | null;
  /** Linear address of an instruction that faulted, and its cause; of one that was adapted, and what there was before. */
  fault: (Fault & { readonly unit: Unit }) | null;
  adapted: { readonly unit: Unit; readonly linear: number; readonly traced: number; readonly device: number } | null;
  /** A source of translations has been written since. */
  codeWritten: boolean;
}

interface SavedTranslation {
  readonly cache: SavedCache;
  readonly source: SavedSource;
  readonly adaptation: SavedAdaptation;
  readonly begun: boolean;
  /** Units by number; -1 for none. */
  readonly armed: number;
  readonly stoppedIn: number;
  readonly from: { readonly unit: number; readonly callOut: CallOut } | null;
  readonly fault: (Fault & { readonly unit: number }) | null;
  readonly adapted: {
    readonly unit: number;
    readonly linear: number;
    readonly traced: number;
    readonly device: number;
  } | null;
  readonly codeWritten: boolean;
  readonly register: number;
  readonly relied: boolean;
}

const POST_PORT = 0x80;
/** IA32_APIC_BASE: the APIC is enabled. */
const APIC_ENABLED = 1 << 11;
const CAUSES: Readonly<Record<CallOut["kind"], string>> = {
  translate: "translate",
  lookup: "indirect-branch",
  instruction: "instruction",
  pending: "pending-interrupt",
};

export class BinaryTranslation implements KernelTranslator {
  readonly #parts: TranslatorParts;
  readonly #options: BtParameters;
  readonly #translator: Translator;
  readonly #cache: TranslationCache;
  readonly #data: VirtualData;
  readonly #source: SourcePages;
  readonly #adaptation: Adaptation;
  readonly #translating: Account;
  readonly #unfinished: Unfinished = { from: null, fault: null, adapted: null, codeWritten: false };
  #armed: Unit | null = null;
  /** The unit that the guest has left last. */
  #stoppedIn: Unit | null = null;
  #begun = false;
  /** Linear address at which the guest has reached the task-priority register last; -1: nowhere. */
  #register = -1;
  /** Units that take operands to be that register; whether there have been any. */
  readonly #relying = new Set<Unit>();
  #relied = false;

  constructor(parts: TranslatorParts, options: BtParameters) {
    const { core, guestMemory, ledger, memory, region, port, env, shadow } = parts;
    this.#parts = parts;
    this.#options = options;
    this.#translator = new Translator(core.env.profile, options, (segment, write) =>
      this.#findRegister(segment, write),
    );
    const first = region.host(REGION_PAGE.cache);
    this.#cache = new TranslationCache({
      port: {
        place: (offset, bytes) => memory.copyIn(first + offset, bytes),
        patch: (offset, bytes) => this.#patch(first + offset, bytes),
      },
      options,
      onSource: (page, isSource) => {
        if (isSource) shadow.watch(page);
        else shadow.unwatch(page);
      },
      onDetached: (unit) => {
        this.#source.remove(unit);
        this.#relying.delete(unit);
      },
    });
    this.#data = new VirtualData(memory, port, region.host(REGION_PAGE.data));
    this.#source = new SourcePages({
      env,
      detach: (unit) => {
        if (unit.translation.operands.length === 0) this.#cache.detach(unit);
        else this.#cache.drop(unit);
      },
      isRam: (guestPage) => guestMemory.hostFrame(guestPage) >= 0,
      watch: (guestPage) => shadow.watch(guestPage),
      unwatch: (guestPage) => shadow.unwatch(guestPage),
    });
    this.#adaptation = new Adaptation(options.adaptation);
    this.#translating = ledger.account("monitor", "service:translate");
    core.code.classes = {
      first,
      linear: CACHE_BASE,
      classes: this.#cache.classes,
      accounts: CODE_CLASSES.map((name) => ({
        kernel: ledger.account("guest-kernel", name),
        user: ledger.account("guest-user", name),
      })),
    };
  }

  runs(cpl: number): boolean {
    return cpl !== 3 || this.#options.user === "translate";
  }

  // ---- into the cache ----

  enter(pending: boolean): number {
    const { virtual, guestMemory } = this.#parts;
    if (!this.#begun) this.#begin();
    this.#settle();
    this.#source.verify();
    for (const unit of this.#relying)
      if (!unit.translation.operands.every((each) => this.#holds(each))) this.#drop(unit);
    const context = contextOf(virtual);
    const address = this.#resumed(context) ?? this.#unitAt(context);
    if (address < 0) return -1;
    if (this.#armed !== null) this.#cache.disarm(this.#armed);
    this.#armed = null;
    this.#cache.use(context);
    guestMemory.do("virtual-state");
    this.#data.publish(virtual, pending);
    this.#data.write(DATA.port80, this.#parts.board.readPort(POST_PORT, 1));
    if (this.#relied) this.#data.write(DATA.taskPriority, this.#parts.board.apic.taskPriority);
    this.devicesChanged();
    return address;
  }

  #begin(): void {
    this.#begun = true;
    this.#cache.begin();
    this.#data.begin();
  }

  /** Where the unit goes on from which the guest came, if it has done its instruction and nothing else. */
  #resumed(context: CodeContext): number | null {
    const from = this.#unfinished.from;
    if (from === null) return null;
    const { unit, callOut } = from;
    if (callOut.resume < 0 || !unit.attached || this.#parts.virtual.eip !== (callOut.eip + callOut.length) >>> 0)
      return null;
    if (!sameContext(context, unit.translation.context)) return null;
    this.#unfinished.from = null;
    return unit.address + callOut.resume;
  }

  /** Address of the unit at CS:EIP, translated if need be; -1 where there is no code. */
  #unitAt(context: CodeContext): number {
    const { virtual, guestMemory } = this.#parts;
    guestMemory.do("unit-find");
    const { from } = this.#unfinished;
    this.#unfinished.from = null;
    const known = this.#cache.lookup(virtual.eip, context) ?? this.#revived(context);
    const within = known === null && from === null ? this.#within(context) : -1;
    if (within >= 0) return within;
    const unit = known ?? this.#translate(context);
    if (unit === null) return -1;
    if (from !== null) this.#connect(from.unit, from.callOut, unit);
    return unit.address;
  }

  /** Where CS:EIP is in the unit that the guest has left last, by a fault perhaps; -1 if nowhere. */
  #within(context: CodeContext): number {
    const unit = this.#stoppedIn;
    if (unit === null || !unit.attached || !sameContext(context, unit.translation.context)) return -1;
    const offset = beginningOf(unit.translation.points, this.#parts.virtual.eip);
    return offset < 0 ? -1 : unit.address + offset;
  }

  #connect(from: Unit, callOut: CallOut, to: Unit): void {
    const { guestMemory } = this.#parts;
    if (callOut.kind === "translate") {
      const exit = this.#cache.exitOf(from, callOut);
      if (exit === undefined || from.dead || exit.target !== to.translation.eip) return;
      if (!this.#options.chaining || !sameContext(from.translation.context, to.translation.context)) return;
      guestMemory.do("unit-patch");
      this.#cache.chain(from, exit, to);
    } else if (callOut.kind === "lookup" && this.#options.returnLookup) {
      guestMemory.do("unit-patch");
      this.#cache.use(to.translation.context);
      this.#cache.learn(callOut.eip, to);
    }
  }

  #revived(context: CodeContext): Unit | null {
    const access = fetchAccess(context.cpl);
    const unit = this.#cache.revive(this.#parts.virtual.eip, context, (page) => this.#source.find(page, access));
    if (unit === undefined) return null;
    this.#source.add(unit);
    return unit;
  }

  #translate(context: CodeContext): Unit | null {
    const { virtual, ledger, port, memory, guestMemory, core } = this.#parts;
    const { service } = port;
    port.service = this.#translating;
    const access = fetchAccess(context.cpl);
    const pages = new Map<number, number>();
    let latest = -1;
    let host = -1;
    const fetch = (linear: number): number | null => {
      const page = pageNumber(linear);
      if (page !== latest) {
        let frame = pages.get(page);
        if (frame === undefined) {
          frame = this.#source.find(page, access);
          pages.set(page, frame);
        }
        latest = page;
        host = frame < 0 ? -1 : guestMemory.hostFrame(frame);
      }
      return host < 0 ? null : memory.read8((host << PAGE_SHIFT) + pageOffset(linear));
    };
    const linear = (eip: number): number => (context.codeBase + eip) >>> 0;
    const translation = this.#translator.translate(virtual.eip, context, fetch, (eip) =>
      this.#adaptation.form(linear(eip)),
    );
    if (translation !== null) {
      const count = Object.values(translation.instructions).reduce((sum, each) => sum + each, 0);
      const ticks = Math.round(core.env.profile.translation.value * TICKS_PER_CYCLE) * count;
      ledger.charge(this.#translating, ticks, "translate");
    }
    let unit: Unit | null = null;
    if (translation !== null) {
      const [first, length] = translation.source;
      const frames: number[] = [];
      for (let page = pageNumber(first); length > 0 && page <= pageNumber(first + length - 1); page++) {
        frames.push(pages.get(page) as number);
      }
      const { flushes } = this.#cache.statistics;
      unit = this.#cache.place(translation, frames);
      if (this.#cache.statistics.flushes !== flushes) this.#forgetUnits();
      this.#source.add(unit);
      if (translation.operands.length > 0) this.#rely(unit);
    }
    port.service = service;
    return unit;
  }

  #rely(unit: Unit): void {
    this.#relying.add(unit);
    this.#relied = true;
  }

  #forgetUnits(): void {
    this.#source.clear();
    this.#relying.clear();
  }

  /** Guest-physical page of the local APIC's registers; -1 while it is disabled. */
  #apicPage(): number {
    const base = this.#parts.virtual.getNumber(CELL.apicBase);
    return (base & APIC_ENABLED) === 0 ? -1 : pageNumber(base);
  }

  #findRegister(segment: number, write: boolean): RegisterOperand | null {
    const linear = this.#register;
    if (linear < 0) return null;
    const offset = (linear - this.#parts.virtual.segmentBase(segment)) >>> 0;
    const page = this.#source.find(pageNumber(linear), write ? ACCESS.WRITE : ACCESS.READ);
    const operand: RegisterOperand = { segment, offset, write, linear, page };
    return this.#holds(operand) ? operand : null;
  }

  /** Whether an operand is the register as far as the APIC's base and the segment say; its page is looked after. */
  #holds({ segment, offset, write, linear, page }: RegisterOperand): boolean {
    const { virtual } = this.#parts;
    if (page < 0 || page !== this.#apicPage() || (virtual.segmentBase(segment) + offset) >>> 0 !== linear) return false;
    const rights = virtual.segmentRights(segment);
    const isData = (rights & (RIGHTS.UNUSABLE | RIGHTS.CODE | RIGHTS.EXPAND_DOWN_OR_CONFORMING)) === 0;
    const permits = isData && (!write || (rights & RIGHTS.WRITABLE_OR_READABLE) !== 0);
    return permits && offset + 3 <= virtual.segmentLimit(segment);
  }

  #drop(unit: Unit): void {
    this.#parts.guestMemory.do("unit-drop");
    this.#cache.drop(unit);
  }

  // ---- out of the cache ----

  recover(eip: number, into: CpuState): void {
    const found = this.#cache.recover(eip);
    if (found === undefined) throw new Error(`bt: no instruction at ${eip.toString(16)} in the translation cache`);
    const { unit, point } = found;
    const stored = new Map<number, number>();
    const load = (slot: number): number => stored.get(slot) ?? this.#data.peek(slot);
    repair(point.repairs, {
      register: (n) => into.get(gprCell(n)),
      setRegister: (n, value) => into.set(gprCell(n), value),
      setStatusFlags: (lahf, overflow) => {
        const status = (lahf & STATUS_FLAGS & ~FLAG.OF) | (overflow ? FLAG.OF : 0);
        into.flags = (into.flags & ~STATUS_FLAGS) | status;
      },
      load,
      store: (slot, value) => stored.set(slot, value >>> 0),
    });
    into.eip = point.eip;
    into.flags = load(DATA.ifDelta) === 0 ? into.flags | FLAG.IF : into.flags & ~FLAG.IF;
    if (point.shadow) into.set(CELL.interruptibility, into.get(CELL.interruptibility) | BLOCKING.STI);
    this.#correctX87(into);
    this.#takePort80();
    this.#takeTaskPriority();
    if (into !== this.#parts.virtual) return;
    this.#stoppedIn = unit;
    this.#parts.guestMemory.do("unit-recover");
  }

  /** What the guest wrote to port 80h in the cache is the virtual board's to know. */
  #takePort80(): void {
    const { board } = this.#parts;
    const code = this.#data.peek(DATA.port80) & 0xff;
    if (board.readPort(POST_PORT, 1) !== code) board.writePort(POST_PORT, 1, code);
  }

  left(): void {
    if (!this.#relied) return;
    this.#data.read(DATA.taskPriority);
    this.#takeTaskPriority();
  }

  /** What the guest has made of the task-priority register in the cache is the virtual APIC's to know. */
  #takeTaskPriority(): void {
    if (this.#relied) this.#parts.board.apic.taskPriority = this.#data.peek(DATA.taskPriority);
  }

  devicesChanged(): void {
    if (this.#relied) this.#data.write(DATA.requests, this.#parts.board.apic.requested ? 1 : 0);
  }

  /** The address of the last x87 instruction is the guest's, not the cache's. */
  #correctX87(into: CpuState): void {
    const pointer = into.get(X87.instructionOffset);
    if (pointer < CACHE_BASE) return;
    const found = this.#cache.recover(pointer);
    if (found === undefined) return;
    into.set(X87.instructionOffset, found.point.eip);
    into.set(X87.instructionSelector, into.get(selectorCell(SEG.cs)));
  }

  callOut(eip: number): Wish {
    this.#settle();
    const arrival = this.#cache.arrival(eip);
    if (arrival === undefined) throw new Error(`bt: no call-out at ${eip.toString(16)}`);
    if (arrival.kind === "armed") return { kind: "resume", cause: "unit-end" };
    const { unit, callOut } = arrival;
    this.#unfinished.from = { unit, callOut };
    if (callOut.adapted) {
      const { guestMemory } = this.#parts;
      this.#unfinished.adapted = {
        ...{ unit, linear: linearOf(unit, callOut.eip) },
        ...{ traced: guestMemory.tracedWrites, device: guestMemory.deviceAccesses },
      };
    }
    const emulated = callOut.kind === "instruction" || callOut.kind === "lookup";
    return { kind: emulated ? "instruction" : "resume", cause: CAUSES[callOut.kind] };
  }

  takesInterrupt(): boolean {
    const enabled = this.#data.read(DATA.ifDelta) === 0;
    if (!enabled) this.#data.write(DATA.pending, 1);
    return enabled;
  }

  postpone(eip: number): boolean {
    const found = this.#cache.recover(eip);
    if (found === undefined) return false;
    const { unit, point } = found;
    if (point.offset === 0 || point.offset >= unit.translation.boundary) return false;
    if (this.#armed === unit) return true;
    if (this.#armed !== null) this.#cache.disarm(this.#armed);
    this.#parts.guestMemory.do("unit-patch");
    this.#cache.arm(unit);
    this.#armed = unit;
    return true;
  }

  // ---- what happens meanwhile ----

  wrote(address: number, bytes: number): void {
    this.#source.wrote(address, bytes);
    if (!this.#cache.isSource(pageNumber(address))) return;
    this.#unfinished.codeWritten = true;
    for (let n = this.#cache.invalidate(address, bytes); n > 0; n--) this.#parts.guestMemory.do("unit-drop");
  }

  translationChanged(): void {
    this.#source.doubtAll();
  }

  invalidated(linear: number): void {
    this.#source.doubt(linear);
  }

  memoryChanged(): void {
    this.#cache.flush();
    this.#forgetUnits();
  }

  faulted(cause: string, at?: { readonly linear: number; readonly physical: number }): void {
    this.#settle();
    const unit = this.#stoppedIn;
    if (unit === null) return;
    this.#unfinished.codeWritten = false;
    const taskPriority = at !== undefined && at.physical === this.#apicPage() * PAGE_SIZE + APIC.tpr;
    if (taskPriority) this.#register = at.linear;
    this.#unfinished.fault = { unit, linear: linearOf(unit, this.#parts.virtual.eip), cause, taskPriority };
  }

  /** The instruction that faulted, or was adapted, has been executed: what it has done is known. */
  #settle(): void {
    const { fault, adapted, codeWritten } = this.#unfinished;
    const { guestMemory } = this.#parts;
    this.#unfinished.fault = null;
    this.#unfinished.adapted = null;
    this.#unfinished.codeWritten = false;
    if (fault !== null) {
      const kind = faultKind(fault.cause, codeWritten);
      if (this.#adaptation.faulted(fault.linear, kind, fault.taskPriority)) this.#drop(fault.unit);
    }
    if (adapted === null) return;
    const touched = guestMemory.tracedWrites !== adapted.traced || guestMemory.deviceAccesses !== adapted.device;
    if (this.#adaptation.executed(adapted.linear, touched)) this.#drop(adapted.unit);
  }

  #patch(host: number, bytes: Uint8Array): void {
    const { port } = this.#parts;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    if (bytes.length === 4) port.write(host, 4, view.getInt32(0, true));
    else port.write(host, 2, view.getUint16(0, true));
  }

  emitsStore(address: number): boolean {
    return this.#cache.recover(address)?.point.stores === true;
  }

  counters(): Readonly<Record<string, number>> {
    return {
      ...this.#cache.statistics.counters(),
      ...this.#adaptation.counters(this.#data.peek(DATA.taskPriorityAccesses)),
    };
  }

  save(): SavedTranslation {
    const cache = this.#cache;
    const numberOf = (unit: Unit | null): number => (unit === null ? -1 : cache.numberOf(unit));
    const { from, fault, adapted, codeWritten } = this.#unfinished;
    return {
      cache: cache.save(),
      source: this.#source.save(),
      adaptation: this.#adaptation.save(),
      begun: this.#begun,
      armed: numberOf(this.#armed),
      stoppedIn: numberOf(this.#stoppedIn),
      from: from === null ? null : { unit: cache.numberOf(from.unit), callOut: from.callOut },
      fault: fault === null ? null : { ...fault, unit: cache.numberOf(fault.unit) },
      adapted: adapted === null ? null : { ...adapted, unit: cache.numberOf(adapted.unit) },
      codeWritten,
      register: this.#register,
      relied: this.#relied,
    };
  }

  restore(state: unknown): void {
    const saved = state as SavedTranslation;
    const cache = this.#cache;
    cache.restore(saved.cache);
    this.#source.restore(saved.source, cache.attached());
    this.#adaptation.restore(saved.adaptation);
    this.#begun = saved.begun;
    this.#register = saved.register;
    this.#relied = saved.relied;
    this.#relying.clear();
    for (const unit of cache.attached()) if (unit.translation.operands.length > 0) this.#relying.add(unit);
    this.#armed = cache.numbered(saved.armed);
    this.#stoppedIn = cache.numbered(saved.stoppedIn);
    const { from, fault, adapted } = saved;
    const unfinished = this.#unfinished;
    unfinished.from = restoredFrom(from, from === null ? null : cache.numbered(from.unit));
    const faulted = fault === null ? null : cache.numbered(fault.unit);
    unfinished.fault = fault === null || faulted === null ? null : { ...fault, unit: faulted };
    const called = adapted === null ? null : cache.numbered(adapted.unit);
    unfinished.adapted = adapted === null || called === null ? null : { ...adapted, unit: called };
    unfinished.codeWritten = saved.codeWritten;
  }
}

/** The call-out of the restored unit that is the saved one. */
function restoredFrom(from: SavedTranslation["from"], unit: Unit | null): Unfinished["from"] {
  if (from === null || unit === null) return null;
  const callOut = unit.translation.callOuts.find(({ offset }) => offset === from.callOut.offset);
  return callOut === undefined ? null : { unit, callOut };
}

function contextOf(virtual: CpuState): CodeContext {
  const size = (segment: number): 16 | 32 => ((virtual.segmentRights(segment) & RIGHTS.DB) !== 0 ? 32 : 16);
  return {
    codeBase: virtual.segmentBase(SEG.cs),
    limit: virtual.segmentLimit(SEG.cs),
    bits: size(SEG.cs),
    stackBits: size(SEG.ss),
    cpl: virtual.cpl === 3 ? 3 : 0,
    as8086: segmentsAs8086(virtual),
  };
}

function linearOf({ translation }: Unit, eip: number): number {
  return (translation.context.codeBase + eip) >>> 0;
}

function faultKind(cause: string, codeWritten: boolean): FaultKind {
  if (cause === "device-memory") return "mmio";
  if (cause === "beyond-limit") return "beyond-limit";
  return codeWritten ? "code-write" : "pte-trace";
}
