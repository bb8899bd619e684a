/**
 * The page walker (SDM vol. 3, 4.3 to 4.8, and 28.2 for a second stage). One function walks every format of
 * page-tables.ts; a two-dimensional walk is the same function with a second stage that translates the address of
 * each table, and of the page, so that four levels over four make 24 references without anybody counting to 24.
 *
 * Accessed and dirty flags. "Whenever the processor uses a paging-structure entry as part of linear-address
 * translation, it sets the accessed flag" (4.8); the SDM leaves open whether an upper entry is marked when the walk
 * ends in a fault, and processors differ (KVM's unit tests ignore A of upper entries after a fault). Here flags are
 * set only when the whole translation succeeds and the access is permitted, from the uppermost entry down; D is set
 * in the entry that maps the page, on a permitted write only.
 *
 * Simplified: the two words of a 64-bit entry are two reads that count as one reference; memory types, protection
 * keys, SMEP and SMAP are not modelled; with EPT A and D flags enabled, references to guest tables are still reads.
 */
import { addressBits, alignDown, lowBits } from "./address.ts";
import type { Level, LevelName, Tables } from "./page-tables.ts";
import { REASON } from "./physical.ts";

/** Kind of access; the same bits as ACCESS in cpu/environment.ts. */
export const WALK = { READ: 0, WRITE: 1, USER: 2, FETCH: 4 } as const;

/** Page-fault error code bits (SDM vol. 3, 4.7). */
export const PF = { P: 1, WR: 2, US: 4, RSVD: 8, ID: 16 } as const;

/** How a walk ended. */
export const WALK_OUTCOME = {
  TRANSLATED: 0,
  /** An entry was not present. */
  NOT_PRESENT: 1,
  /** A present entry had a reserved bit set (EPT: a misconfiguration). */
  RESERVED: 2,
  /** The translation is valid but does not permit the access. */
  PROTECTION: 3,
  /** The second stage did not translate, or did not permit, a table's address or the page's. */
  SECOND_STAGE: 4,
} as const;

/** Where the walker reads and updates entries; addresses are physical in the last stage's sense. */
export interface TableMemory {
  /** One 32-bit word; `reason` (physical.ts) counts the reference, -1 for the second word of an entry. */
  readTable(address: number, reason: number): number;
  /** Sets flags in the low word of an entry. */
  updateTable(address: number, value: number): void;
}

/** Everything that decides a translation besides the entries; immutable, captured when a walk starts. */
export interface WalkContext {
  /** Physical address of the first table (of the page directory pointers' first level when they are in registers). */
  readonly root: number;
  /** CR0.WP. */
  readonly writeProtect: boolean;
  /** CR4.PGE. */
  readonly globalPages: boolean;
  /** Whether error codes say that the access was a fetch: IA32_EFER.NXE with PAE or 4-level paging. */
  readonly fetchInErrorCode: boolean;
  /** PAE: the four PDPTE registers (low words, high words). */
  readonly pdptes?: readonly (readonly [low: number, high: number])[];
  readonly memory: TableMemory;
  /** Reference reason by level name. */
  readonly reasons: Readonly<Record<LevelName, number>>;
  readonly secondStage: SecondStage | null;
  /** Filled by every walk in this context. */
  readonly result: WalkResult;
}

export interface SecondStage {
  readonly tables: Tables;
  readonly context: WalkContext;
}

/** Reasons of an only or first stage, and of a second. */
export const FIRST_STAGE_REASONS = { pml4e: REASON.pml4e, pdpte: REASON.pdpte, pde: REASON.pde, pte: REASON.pte };
export const SECOND_STAGE_REASONS = {
  pml4e: REASON["nested-pml4e"],
  pdpte: REASON["nested-pdpte"],
  pde: REASON["nested-pde"],
  pte: REASON["nested-pte"],
};

const MAX_REFERENCES = 32;
const MAX_LEVELS = 4;

/** Result of the last walk in a context; valid until the next one. */
export class WalkResult {
  /** A value of WALK_OUTCOME. */
  outcome: number = WALK_OUTCOME.TRANSLATED;
  /** First byte of the page, and log2 of its size; with a second stage the smaller of the two pages. */
  pageBase = 0;
  pageShift = 0;
  /** R/W and U/S of all entries used, combined; CR0.WP is not applied. */
  writable = false;
  user = false;
  executable = false;
  global = false;
  /** D flag of the entry that maps the page, after the walk. */
  dirty = false;
  /** Page-fault error code (SDM vol. 3, 4.7) when the first stage did not translate. */
  errorCode = 0;
  /** Level index at which the walk ended in a fault, -1 for a fault of permissions over all levels. */
  faultLevel = 0;
  /** Address that the second stage failed on, and whether it was that of a table (else the page's). */
  secondStageAddress = 0;
  secondStageTable = false;
  /** References in the order in which they were made: reason and address. */
  references = 0;
  readonly referenceReason = new Uint8Array(MAX_REFERENCES);
  readonly referenceAddress = new Float64Array(MAX_REFERENCES);
  /** Entries whose A or D flag was set by this walk. */
  updates = 0;
  /** Entries used, by level: where they are, their words, whether the second stage lets them be written. */
  readonly entryAddress = new Float64Array(MAX_LEVELS);
  readonly entryLow = new Int32Array(MAX_LEVELS);
  readonly entryHigh = new Int32Array(MAX_LEVELS);
  readonly entryGuestAddress = new Float64Array(MAX_LEVELS);
  readonly entryWritable = new Uint8Array(MAX_LEVELS);
}

function addReference(result: WalkResult, reason: number, address: number): void {
  result.referenceReason[result.references] = reason;
  result.referenceAddress[result.references] = address;
  result.references++;
}

function fault(result: WalkResult, outcome: number, level: number, errorCode: number): WalkResult {
  result.outcome = outcome;
  result.faultLevel = level;
  result.errorCode = errorCode;
  return result;
}

/** Translates by the second stage and takes over its references; null when it faulted. */
function resolve(
  stage: SecondStage,
  address: number,
  access: number,
  table: boolean,
  result: WalkResult,
): WalkResult | null {
  const inner = walk(stage.tables, stage.context, address, access);
  for (let i = 0; i < inner.references; i++) {
    addReference(result, inner.referenceReason[i] as number, inner.referenceAddress[i] as number);
  }
  result.updates += inner.updates;
  if (inner.outcome === WALK_OUTCOME.TRANSLATED) return inner;
  result.outcome = WALK_OUTCOME.SECOND_STAGE;
  result.secondStageAddress = address;
  result.secondStageTable = table;
  return null;
}

/** Physical address of the table or the small page that an entry refers to. */
export function entryTarget(level: Level, low: number, high: number): number {
  return ((low & level.addressLow) >>> 0) + ((high & level.addressHigh) >>> 0) * 2 ** 32;
}

/** Physical address of the large page that an entry maps. */
export function largePageBase(level: Level, low: number, high: number): number {
  const base = ((low & level.largeAddressLow) >>> 0) + ((high & level.addressHigh) >>> 0) * 2 ** 32;
  return alignDown(level.pse36 === 0 ? base : base + ((low & level.pse36) >>> 13) * 2 ** 32, level.pageShift);
}

/**
 * Walks `tables` for an access (WALK bits) to `address`, sets A and D flags if it succeeds, and returns
 * `context.result`.
 */
export function walk(tables: Tables, context: WalkContext, address: number, access: number): WalkResult {
  const result = context.result;
  const bits = tables.bits;
  const memory = context.memory;
  result.references = 0;
  result.updates = 0;
  result.errorCode = 0;
  result.global = false;
  const write = (access & WALK.WRITE) !== 0;
  const user = (access & WALK.USER) !== 0;
  const fetch = (access & WALK.FETCH) !== 0;
  const accessCode = (write ? PF.WR : 0) | (user ? PF.US : 0) | (fetch && context.fetchInErrorCode ? PF.ID : 0);

  let table = context.root;
  let writable = true;
  let userPage = true;
  let executable = true;
  let readable = true;
  let last = 0;
  let pageBase = 0;
  let pageShift = 0;
  let low = 0;
  let high = 0;
  for (let n = 0; ; n++) {
    const level = tables.levels[n] as Level;
    const index = addressBits(address, level.indexLow, level.indexBits);
    if (level.registers) {
      [low, high] = (context.pdptes as readonly (readonly [number, number])[])[index] as readonly [number, number];
      if ((low & bits.present) === 0) return fault(result, WALK_OUTCOME.NOT_PRESENT, n, accessCode);
      result.entryAddress[n] = -1;
      table = entryTarget(level, low, high);
      continue;
    }
    let entry = table + index * tables.entryBytes;
    result.entryGuestAddress[n] = entry;
    result.entryWritable[n] = 1;
    if (context.secondStage !== null) {
      const stage = resolve(context.secondStage, entry, WALK.READ, true, result);
      if (stage === null) return result;
      result.entryWritable[n] = stage.writable ? 1 : 0;
      entry = stage.pageBase + lowBits(entry, stage.pageShift);
    }
    const reason = context.reasons[level.name];
    addReference(result, reason, entry);
    low = memory.readTable(entry, reason);
    high = tables.entryBytes === 8 ? memory.readTable(entry + 4, -1) : 0;
    if ((low & bits.present) === 0) return fault(result, WALK_OUTCOME.NOT_PRESENT, n, accessCode);
    const large = (low & level.large) !== 0;
    const reserved = large
      ? (low & level.reservedLargeLow) | (high & level.reservedLargeHigh)
      : (low & level.reservedLow) | (high & level.reservedHigh);
    if (reserved !== 0 || ((tables.format.illegalPermissions >>> (low & 7)) & 1) !== 0) {
      return fault(result, WALK_OUTCOME.RESERVED, n, accessCode | PF.P | PF.RSVD);
    }
    result.entryAddress[n] = entry;
    result.entryLow[n] = low;
    result.entryHigh[n] = high;
    writable &&= (low & bits.write) !== 0;
    userPage &&= bits.user === 0 || (low & bits.user) !== 0;
    readable &&= bits.read === 0 || (low & bits.read) !== 0;
    executable &&= (bits.execute === 0 || (low & bits.execute) !== 0) && (high & tables.executeDisable) === 0;
    if (level.leaf || large) {
      last = n;
      pageShift = level.pageShift;
      pageBase = large ? largePageBase(level, low, high) : entryTarget(level, low, high);
      break;
    }
    table = entryTarget(level, low, high);
  }

  // SDM vol. 3, 4.6: writes need R/W in all entries, except for the supervisor when CR0.WP is 0 (never under EPT).
  const writeDenied = write && !writable && (user || context.writeProtect || bits.user === 0);
  if ((user && !userPage) || writeDenied || (fetch && !executable) || (!fetch && !readable)) {
    return fault(result, WALK_OUTCOME.PROTECTION, -1, accessCode | PF.P);
  }

  const wanted = bits.accessed | (write ? bits.dirty : 0);
  let stageBase = pageBase;
  let stageShift = pageShift;
  if (context.secondStage !== null) {
    for (let n = 0; n <= last; n++) {
      const need = n === last ? wanted : bits.accessed;
      if (tables.levels[n]?.registers || (~(result.entryLow[n] as number) & need) === 0) continue;
      if (result.entryWritable[n] === 0) {
        result.outcome = WALK_OUTCOME.SECOND_STAGE;
        result.secondStageAddress = result.entryGuestAddress[n] as number;
        result.secondStageTable = true;
        return result;
      }
    }
    const target = pageBase + lowBits(address, pageShift);
    const stage = resolve(context.secondStage, target, access & (WALK.WRITE | WALK.FETCH), false, result);
    if (stage === null) return result;
    // A page of the first stage inside a larger one of the second, or the other way round: the smaller is cached.
    stageShift = Math.min(pageShift, stage.pageShift);
    stageBase = alignDown(stage.pageBase + lowBits(target, stage.pageShift), stageShift);
    writable &&= stage.writable;
    executable &&= stage.executable;
  }
  for (let n = 0; n <= last; n++) {
    if (tables.levels[n]?.registers) continue;
    const old = result.entryLow[n] as number;
    const marked = old | (n === last ? wanted : bits.accessed);
    if (marked === old) continue;
    memory.updateTable(result.entryAddress[n] as number, marked);
    result.entryLow[n] = marked;
    result.updates++;
  }

  result.outcome = WALK_OUTCOME.TRANSLATED;
  result.pageBase = stageBase;
  result.pageShift = stageShift;
  result.writable = writable;
  result.user = userPage;
  result.executable = executable;
  result.global = context.globalPages && (low & bits.global) !== 0;
  result.dirty = bits.dirty === 0 || ((result.entryLow[last] as number) & bits.dirty) !== 0;
  return result;
}
