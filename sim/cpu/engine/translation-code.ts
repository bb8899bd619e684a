/**
 * Walks of TLB misses and INVLPG in compiled code: what paging.ts, memory/tlb.ts and mmu.ts do, for the usual case, and with
 * the same effects on the modelled TLBs, tables, counters and time. Usual is: 32-bit paging through tables in RAM, a 4 KB
 * page in RAM that is there and permits the access, tables that nobody watches or executes where A or D must be set, and
 * no large page in the way. Everything is looked at first; with anything else nothing has been done, and JavaScript is asked.
 */
import { DEADLINE_CELL, NOW_CELL } from "../../clock.ts";
import { CONVENTIONAL_END, EXTENDED_BASE } from "../../memory/memory-map.ts";
import { PAGING_32 } from "../../memory/page-tables.ts";
import { CODE_GRANULE_SHIFT, RAM_OFFSET, REASON } from "../../memory/physical.ts";
import { type Bank, CHAINS, EMPTY, SMALL_SHIFT, TLB_ATTRIBUTE, TLB_CELL, type TlbLayout } from "../../memory/tlb.ts";
import { ACCESS } from "../environment.ts";
import { COUNT, type SideCounts, USUAL_CELL } from "../paging.ts";
import { baseCell, CELL, CR0, CR4, limitCell, SEG } from "../state.ts";
import { accountCell, charge } from "./account-code.ts";
import { copyFromTwoPages } from "./across-code.ts";
import { EXIT, FUNCTION, LATER_ACCESS, TRANSFER_USER, TRANSLATE } from "./contract.ts";
import type { Unusual } from "./descriptor-code.ts";
import { FunctionWriter, type Value, type Variable } from "./expressions.ts";
import { CORE_CELL, type EngineLayout, GUARD } from "./layout.ts";
import { type FunctionBody, TYPE } from "./wasm.ts";

const PAGE_MASK = 0xfff;
const FRAME = ~PAGE_MASK;
const { present, write: writable, user: userPage, accessed, dirty, large, global } = PAGING_32.bits;

/** Where an entry of a bank would go. */
interface Place {
  readonly bank: Bank;
  readonly entry: Variable;
  readonly way: Variable;
  /** Byte offset of the set's 16-bit words from those of set 0. */
  readonly set: Variable;
}

function count(w: FunctionWriter, { counts }: EngineLayout, index: number, events: Value = w.float(1)): void {
  w.increase(0, events, counts + index * 8);
}

/** What a TLB does, in the words of memory/tlb.ts. */
class TlbCode {
  readonly #w: FunctionWriter;
  readonly #tlb: TlbLayout;
  /** Removes a small page of the first level from the fast table. */
  readonly #onEvict: (page: Value) => void;

  constructor(w: FunctionWriter, tlb: TlbLayout, onEvict: (page: Value) => void) {
    this.#w = w;
    this.#tlb = tlb;
    this.#onEvict = onEvict;
  }

  #cell(index: number): Value {
    return this.#w.load(0, this.#tlb.cells + index * 4);
  }

  #key(entry: Value): Value {
    return this.#w.loadF64(this.#w.shl(entry, 3), this.#tlb.keys);
  }

  #isInvalid(entry: Value): Value {
    return this.#w.equalF64(this.#key(entry), this.#w.float(EMPTY));
  }

  /** Byte offset of the chain of a page number. */
  #chain(number: Value): Value {
    return this.#w.shl(this.#w.and(number, CHAINS - 1), 1);
  }

  #next(entry: Value): Value {
    return this.#w.load16Signed(this.#w.shl(entry, 1), this.#tlb.next);
  }

  /** Visits the valid entries, of any level, of a page number and size class in the present address space. */
  #each(number: Value, sizeClass: 0 | 1, visit: (entry: Variable) => void): void {
    const w = this.#w;
    const { chains, tags } = this.#tlb;
    const key = w.variable(w.toFloat(w.add(w.shl(number, 1), sizeClass)), TYPE.f64);
    const tag = w.variable(this.#cell(TLB_CELL.currentTag));
    const entry = w.variable(w.load16Signed(this.#chain(number), chains));
    const next = w.variable(0);
    w.repeat(w.atLeast(entry, 0), () => {
      w.set(next, this.#next(entry));
      const same = w.and(w.equalF64(this.#key(entry), key), w.equal(w.load16(w.shl(entry, 1), tags), tag));
      w.when(same, () => visit(entry));
      w.set(entry, next);
    });
  }

  /** Unusual: a large page has the address. */
  refuseLarge(linear: Value, unusual: Unusual): void {
    this.#w.when(this.#cell(TLB_CELL.anyLarge), () => {
      this.#each(this.#w.shr(linear, this.#cell(TLB_CELL.largeShift)), 1, () => unusual(1));
    });
  }

  /** Unusual: some level has the address. */
  refusePresent(linear: Value, page: Value, unusual: Unusual): void {
    this.#each(page, 0, () => unusual(1));
    this.refuseLarge(linear, unusual);
  }

  /** INVLPG of a small page. */
  flush(page: Value): void {
    this.#each(page, 0, (entry) => {
      this.#evict(entry, page);
      this.#drop(entry, page);
    });
  }

  #evict(entry: Value, page: Value): void {
    this.#w.when(this.#w.below(entry, this.#tlb.firstLevelEntries), () => this.#onEvict(page));
  }

  #unchain(entry: Value, number: Value): void {
    const w = this.#w;
    const { chains, next } = this.#tlb;
    const chain = w.variable(this.#chain(number));
    const at = w.variable(w.load16Signed(chain, chains));
    w.when(
      w.equal(at, entry),
      () => w.store16(chain, this.#next(entry), chains),
      () => {
        w.repeat(w.unequal(this.#next(at), entry), () => w.set(at, this.#next(at)));
        w.store16(w.shl(at, 1), this.#next(entry), next);
      },
    );
  }

  #drop(entry: Variable, number: Value): void {
    const w = this.#w;
    const { keys, cells, setOf, wayOf, free } = this.#tlb;
    this.#unchain(entry, number);
    w.storeF64(w.shl(entry, 3), w.float(EMPTY), keys);
    w.store(0, w.sub(this.#cell(TLB_CELL.valid), 1), cells + TLB_CELL.valid * 4);
    this.#mark(entry, 0);
    const set = w.variable(w.shl(w.load16(w.shl(entry, 1), setOf), 1));
    const way = w.variable(w.load16(w.shl(entry, 1), wayOf));
    w.when(w.below(way, w.load16(set, free)), () => w.store16(set, way, free));
  }

  /** The bit that says that a valid entry is not global. */
  #mark(entry: Value, local: Value): void {
    const w = this.#w;
    const word = w.variable(w.shl(w.shr(entry, 5), 2));
    const others = w.and(w.load(word, this.#tlb.local), w.xor(w.shl(1, w.and(entry, 31)), -1));
    w.store(word, w.or(others, w.shl(local, w.and(entry, 31))), this.#tlb.local);
  }

  /** The banks of small pages with the entries that a fill would take; unusual: one that is not a small page's. */
  places(page: Value, unusual: Unusual): Place[] {
    const { small, secondSmall } = this.#tlb;
    return (secondSmall === null ? [small] : [secondSmall, small]).map((bank) => this.#place(bank, page, unusual));
  }

  #place(bank: Bank, page: Value, unusual: Unusual): Place {
    const w = this.#w;
    const { pointers, free, shifts } = this.#tlb;
    const index = w.variable(bank.sets === 1 ? 0 : w.remainder(page, bank.sets));
    const set = w.variable(w.shl(w.add(index, bank.pointers), 1));
    const first = w.variable(w.add(w.multiply(index, bank.ways), bank.first));
    const way = w.variable(w.load16(set, free));
    w.block((leaveIf) => {
      w.repeat(w.below(way, bank.ways), () => {
        leaveIf(this.#isInvalid(w.add(first, way)));
        w.set(way, w.add(way, 1));
      });
    });
    // No way below this one is invalid, whatever happens now.
    w.store16(set, way, free);
    w.when(w.equal(way, bank.ways), () => w.set(way, w.load16(set, pointers)));
    const entry = w.variable(w.add(first, way));
    unusual(w.and(w.not(this.#isInvalid(entry)), w.unequal(w.load8(entry, shifts), SMALL_SHIFT)));
    return { bank, entry, way, set };
  }

  /** Writes a translation, which no level has, to a place. */
  fill({ bank, entry, way, set }: Place, page: Value, frame: Value, attributes: Value): void {
    const w = this.#w;
    const { keys, bases, shifts, tags, chains, next, cells, pointers } = this.#tlb;
    w.when(
      this.#isInvalid(entry),
      () => w.store(0, w.add(this.#cell(TLB_CELL.valid), 1), cells + TLB_CELL.valid * 4),
      () => {
        const old = w.variable(w.shr(w.truncate(this.#key(entry)), 1));
        this.#evict(entry, old);
        this.#unchain(entry, old);
      },
    );
    w.when(w.equal(way, w.load16(set, pointers)), () => {
      const following = w.add(way, 1);
      w.store16(set, w.choose(w.equal(following, bank.ways), 0, following), pointers);
    });
    w.storeF64(w.shl(entry, 3), w.toFloat(w.shl(page, 1)), keys);
    w.store8(entry, SMALL_SHIFT, shifts);
    w.store16(w.shl(entry, 1), this.#cell(TLB_CELL.currentTag), tags);
    w.store16(w.shl(entry, 1), w.load16Signed(this.#chain(page), chains), next);
    w.store16(this.#chain(page), entry, chains);
    w.storeF64(w.shl(entry, 3), w.toFloat(frame), bases);
    w.store8(entry, attributes, this.#tlb.attributes);
    this.#mark(entry, w.not(w.and(attributes, TLB_ATTRIBUTE.GLOBAL)));
  }
}

/** Tag of a slot, whose byte offset is given, that holds no page (mmu.ts). */
function emptyTag(w: FunctionWriter, slot: Value): Value {
  return w.shl(w.xor(w.shr(slot, 2), 1), SMALL_SHIFT);
}

/** Takes a page out of all parts of the fast table of accesses. */
function dropData(w: FunctionWriter, { fastTags, fastBits }: EngineLayout, page: Value): void {
  const slot = w.variable(w.shl(w.and(page, (1 << fastBits) - 1), 2));
  const tag = w.variable(w.shl(page, SMALL_SHIFT));
  for (const part of [0, ACCESS.WRITE, ACCESS.USER, ACCESS.USER | ACCESS.WRITE]) {
    const tags = fastTags + (part << fastBits) * 4;
    w.when(w.equal(w.load(slot, tags), tag), () => w.store(slot, emptyTag(w, slot), tags));
  }
}

/** Takes a page out of both parts of the fast table of fetches. */
function dropFetch(w: FunctionWriter, { fetchTags, fetchBits }: EngineLayout, page: Value): void {
  const slot = w.variable(w.shl(w.and(page, (1 << fetchBits) - 1), 2));
  for (const part of [0, 1]) {
    const tags = fetchTags + (part << fetchBits) * 4;
    w.when(w.equal(w.load(slot, tags), page), () => w.store(slot, -1, tags));
  }
}

/** Puts a page into a part of the fast table of accesses. */
function setFast(w: FunctionWriter, layout: EngineLayout, part: number, page: Value, host: Value): void {
  const { fastTags, fastFrames, fastBits, filled, filledList } = layout;
  const offset = (part << fastBits) * 4;
  const slot = w.variable(w.shl(w.and(page, (1 << fastBits) - 1), 2));
  w.when(w.equal(w.load(slot, fastTags + offset), emptyTag(w, slot)), () => {
    const count = w.variable(w.add(w.load(0, filled), 1));
    w.when(w.below(count, filledList + 1), () => {
      w.store(w.shl(count, 2), w.add(w.shr(slot, 2), part << fastBits), filled);
    });
    w.store(0, count, filled);
  });
  w.store(slot, w.shl(page, SMALL_SHIFT), fastTags + offset);
  w.store(slot, host, fastFrames + offset);
}

const dataTlb = (w: FunctionWriter, layout: EngineLayout): TlbCode =>
  new TlbCode(w, layout.dataTlb, (page) => dropData(w, layout, page));
const instructionTlb = (w: FunctionWriter, layout: EngineLayout): TlbCode =>
  new TlbCode(w, layout.instructionTlb, (page) => dropFetch(w, layout, page));

/** A walk that has been looked at, and can be made. */
interface Walk {
  readonly directory: Variable;
  readonly table: Variable;
  readonly pde: Variable;
  readonly pte: Variable;
  readonly both: Variable;
  /** The page's entry with A, and for a write D, and the page's address. */
  readonly marked: Variable;
  readonly frame: Variable;
}

/** Looks at the tables for an access of which `writes` and `user` say what it is (not zero: it is). */
function look(
  w: FunctionWriter,
  layout: EngineLayout,
  linear: Value,
  writes: Value,
  user: Value,
  unusual: Unusual,
): Walk {
  const { state, usual, ramBytes, granules } = layout;
  const cell = (number: number): Value => w.load(0, state + number * 4);
  // The firmware and the holes of a PC's first megabyte are not for compiled code.
  const notRam = (address: Value): Value =>
    w.or(
      w.not(w.below(address, ramBytes)),
      w.below(w.sub(address, CONVENTIONAL_END), EXTENDED_BASE - CONVENTIONAL_END),
    );
  const marksOf = (address: Value): Value => w.load8(w.shr(address, CODE_GRANULE_SHIFT), granules);
  unusual(w.not(w.load(0, usual + USUAL_CELL.usual * 4)));
  unusual(w.unequal(cell(CELL.cr0), w.load(0, usual + USUAL_CELL.cr0 * 4)));
  unusual(w.unequal(cell(CELL.cr4), w.load(0, usual + USUAL_CELL.cr4 * 4)));
  const directory = w.variable(w.add(w.and(cell(CELL.cr3), FRAME), w.and(w.shr(linear, 20), 0xffc)));
  unusual(notRam(directory));
  const pde = w.variable(w.load(directory, RAM_OFFSET));
  unusual(w.unequal(w.and(pde, present | large), present));
  const table = w.variable(w.add(w.and(pde, FRAME), w.and(w.shr(linear, 10), 0xffc)));
  unusual(notRam(table));
  const pte = w.variable(w.load(table, RAM_OFFSET));
  unusual(w.not(w.and(pte, present)));
  const frame = w.variable(w.and(pte, FRAME));
  unusual(notRam(frame));
  const both = w.variable(w.and(pde, pte));
  const isTrue = (value: Value): Value => w.unequal(value, 0);
  unusual(w.and(isTrue(user), w.not(w.and(both, userPage))));
  const checked = w.or(user, w.and(cell(CELL.cr0), CR0.WP));
  unusual(w.and(w.and(isTrue(writes), isTrue(checked)), w.not(w.and(both, writable))));
  const marked = w.variable(w.or(pte, w.choose(writes, accessed | dirty, accessed)));
  unusual(w.and(w.not(w.and(pde, accessed)), isTrue(marksOf(directory))));
  unusual(w.and(w.unequal(marked, pte), isTrue(marksOf(table))));
  return { directory, table, pde, pte, both, marked, frame };
}

/** Makes a walk for a side (COUNT): its costs, counters and flags. The TLB_ATTRIBUTE bits of the translation. */
function make(w: FunctionWriter, layout: EngineLayout, walk: Walk, side: SideCounts): Variable {
  const { directory, table, pde, pte, both, marked } = walk;
  const { walkStart, walkReference, walkUpdate } = layout.ticks;
  const marksDirectory = w.not(w.and(pde, accessed));
  const updates = w.variable(w.add(marksDirectory, w.unequal(marked, pte)));
  const ticks = w.variable(w.toFloat(w.add(walkStart + 2 * walkReference, w.multiply(updates, walkUpdate))), TYPE.f64);
  charge(w, layout, w.variable(accountCell(w, layout, "walk")), ticks);
  for (const reason of [REASON.pde, REASON.pte]) w.increase(0, w.float(1), layout.references + reason * 8);
  for (const index of [COUNT.pde, COUNT.pte, side.misses, side.walks]) count(w, layout, index);
  w.when(updates, () => {
    count(w, layout, COUNT.updates, w.toFloat(updates));
    w.store(directory, w.or(pde, accessed), RAM_OFFSET);
    w.store(table, marked, RAM_OFFSET);
  });
  const bit = (from: Value, mask: number, attribute: number): Value => w.choose(w.and(from, mask), attribute, 0);
  const isGlobal = w.and(
    bit(pte, global, TLB_ATTRIBUTE.GLOBAL),
    w.sub(0, w.unequal(w.and(w.load(0, layout.state + CELL.cr4 * 4), CR4.PGE), 0)),
  );
  return w.variable(
    w.or(
      w.or(bit(both, writable, TLB_ATTRIBUTE.WRITABLE), bit(both, userPage, TLB_ATTRIBUTE.USER)),
      w.or(w.or(bit(marked, dirty, TLB_ATTRIBUTE.DIRTY), isGlobal), TLB_ATTRIBUTE.EXECUTABLE),
    ),
  );
}

/** (linear, what, spent) -> as `translateSlow` (engine.ts), which is asked unless the access misses and its walk is usual. */
export function translate(layout: EngineLayout): FunctionBody {
  const w = new FunctionWriter(3);
  const linear = w.parameter(0);
  const what = w.parameter(1);
  const spent = w.parameter(2);
  w.block((unusual) => {
    w.when(w.above(w.add(w.and(linear, PAGE_MASK), w.and(w.shr(what, 8), 0xff)), PAGE_MASK + 1), () => {
      copyFromTwoPages(w, layout, linear, what, spent);
      w.return(w.call(FUNCTION.translateSlow, linear, what, spent));
    });
    unusual(w.and(what, LATER_ACCESS));
    const tlb = dataTlb(w, layout);
    const page = w.variable(w.shr(linear, SMALL_SHIFT));
    tlb.refusePresent(linear, page, unusual);
    const walk = look(w, layout, linear, w.and(what, ACCESS.WRITE), w.and(what, ACCESS.USER), unusual);
    const places = tlb.places(page, unusual);

    const attributes = make(w, layout, walk, COUNT.data);
    for (const place of places) tlb.fill(place, page, walk.frame, attributes);
    fillFast(w, layout, page, w.variable(w.add(walk.frame, RAM_OFFSET)), attributes);
    const { time } = layout;
    const now = w.addF64(w.loadF64(0, time + NOW_CELL * 8), w.toFloat(spent, true));
    w.when(w.atLeastF64(now, w.loadF64(0, time + DEADLINE_CELL * 8)), () => w.return(TRANSLATE.REFUSED));
    w.return(w.add(w.add(walk.frame, RAM_OFFSET), w.and(linear, PAGE_MASK)));
  });
  w.put(w.call(FUNCTION.translateSlow, linear, what, spent));
  return w.body;
}

/** Fills every part of the fast table that a translation to a page of RAM permits. */
function fillFast(w: FunctionWriter, layout: EngineLayout, page: Value, host: Value, attributes: Value): void {
  const has = (bits: number): Value => w.equal(w.and(attributes, bits), bits);
  const { WRITABLE, USER, DIRTY } = TLB_ATTRIBUTE;
  const protects = w.and(w.load(0, layout.state + CELL.cr0 * 4), CR0.WP);
  setFast(w, layout, ACCESS.READ, page, host);
  w.when(has(USER), () => setFast(w, layout, ACCESS.USER, page, host));
  w.when(has(DIRTY), () => {
    w.when(w.or(has(WRITABLE), w.not(protects)), () => setFast(w, layout, ACCESS.WRITE, page, host));
    w.when(has(WRITABLE | USER), () => setFast(w, layout, ACCESS.USER | ACCESS.WRITE, page, host));
  });
}

/** (mode) -> as `fetchSlow` (engine.ts), which is asked unless the fetch at EIP misses and its walk is usual. */
export function fetch(layout: EngineLayout): FunctionBody {
  const w = new FunctionWriter(1);
  const mode = w.parameter(0);
  const { state, time, fetchTags, fetchFrames, fetchBases, fetchBits } = layout;
  const cell = (number: number): Value => w.load(0, state + number * 4);
  w.block((unusual) => {
    unusual(w.above(cell(CELL.rip), cell(limitCell(SEG.cs))));
    const linear = w.variable(w.add(cell(baseCell(SEG.cs)), cell(CELL.rip)));
    const page = w.variable(w.shr(linear, SMALL_SHIFT));
    const tlb = instructionTlb(w, layout);
    tlb.refusePresent(linear, page, unusual);
    const user = w.variable(w.and(mode, TRANSFER_USER));
    const walk = look(w, layout, linear, 0, user, unusual);
    const places = tlb.places(page, unusual);

    const attributes = make(w, layout, walk, COUNT.instruction);
    for (const place of places) tlb.fill(place, page, walk.frame, attributes);
    const part = w.choose(user, 1 << fetchBits, 0);
    const slot = w.variable(w.or(part, w.and(page, (1 << fetchBits) - 1)));
    w.store(w.shl(slot, 2), page, fetchTags);
    w.storeF64(w.shl(slot, 3), w.toFloat(walk.frame), fetchFrames);
    w.store(w.shl(slot, 2), walk.frame, fetchBases);
    // The walk may have taken the time up to the deadline: the instruction has begun.
    const due = w.atLeastF64(w.loadF64(0, time + NOW_CELL * 8), w.loadF64(0, time + DEADLINE_CELL * 8));
    w.when(due, () => w.return(w.call(FUNCTION.begun, EXIT.BEGUN)));
    w.return(mode);
  });
  w.put(w.call(FUNCTION.fetchSlow, mode));
  return w.body;
}

/** (linear) -> 1 when INVLPG is done; 0 when it is not for compiled code. */
export function invalidate(layout: EngineLayout): FunctionBody {
  const w = new FunctionWriter(1);
  const linear = w.parameter(0);
  w.block((unusual) => {
    unusual(w.load(0, layout.state + CELL.cpl * 4));
    unusual(w.and(w.load(0, layout.core + CORE_CELL.guard * 4), GUARD.INTERCEPTS));
    const page = w.variable(w.shr(linear, SMALL_SHIFT));
    const sides = [dataTlb(w, layout), instructionTlb(w, layout)];
    for (const side of sides) side.refuseLarge(linear, unusual);
    count(w, layout, COUNT.page);
    for (const side of sides) side.flush(page);
    w.return(1);
  });
  w.put(w.call(FUNCTION.invalidateSlow, linear));
  return w.body;
}
