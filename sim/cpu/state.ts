/**
 * The architectural state of one processor, physical or virtual, as one table of 64-bit cells in shared memory.
 *
 * A cell number is an index in units of 32 bits (always even), so `i32[cell]` is the low half, `i32[cell + 1]` the
 * upper half and `u64[cell >> 1]` the whole. Writing a 32-bit register zeroes the upper half (SDM vol. 1, 3.4.1.1).
 * Micro-ops name cells directly: general registers, temporaries and constants are all cells.
 *
 * Segment registers hold the visible selector and the hidden part: base, limit (in bytes, granularity applied) and
 * access rights in the VMX format (SDM vol. 3, 25.4.1): type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15,
 * unusable 16. `fast` is derived: see `refreshSegment`.
 */

/** Bytes reserved for one processor's state. */
export const STATE_BYTES = 2048;

const cell = (slot: number): number => slot * 2;

/** Cells of the general registers, in encoding order; 8 to 15 exist in 64-bit mode only. */
export const GPR = {
  eax: cell(0),
  ecx: cell(1),
  edx: cell(2),
  ebx: cell(3),
  esp: cell(4),
  ebp: cell(5),
  esi: cell(6),
  edi: cell(7),
} as const;
/** Cell of general register `n` (0 to 15). */
export const gprCell = (n: number): number => n * 2;

/** Cells other than general registers and segments. */
export const CELL = {
  rip: cell(16),
  rflags: cell(17),
  cr0: cell(18),
  cr2: cell(19),
  cr3: cell(20),
  cr4: cell(21),
  dr0: cell(22),
  dr1: cell(23),
  dr2: cell(24),
  dr3: cell(25),
  dr6: cell(26),
  dr7: cell(27),
  efer: cell(28),
  gdtrBase: cell(29),
  gdtrLimit: cell(30),
  idtrBase: cell(31),
  idtrLimit: cell(32),
  sysenterCs: cell(33),
  sysenterEsp: cell(34),
  sysenterEip: cell(35),
  apicBase: cell(36),
  featureControl: cell(37),
  /** Added to the clock's TSC; a signed 64-bit value in ticks-of-TSC (cycles). */
  tscOffset: cell(38),
  /** Current privilege level, 0 to 3. */
  cpl: cell(39),
  /** SDM vol. 3, 25.4.2: 0 active, 1 HLT, 2 shutdown, 3 wait-for-SIPI. */
  activity: cell(40),
  /** SDM vol. 3, 25.4.2: bit 0 blocking by STI, bit 1 by MOV SS, bit 3 by NMI. */
  interruptibility: cell(41),
  /** Pending debug exceptions in the format of DR6 (SDM vol. 3, 25.4.2). */
  pendingDebug: cell(42),
  /** Always zero: the "no register" operand of an effective address. */
  zero: cell(43),
  miscEnable: cell(44),
  pat: cell(45),
  /**
   * 1 between two iterations of a REP string instruction that was left because something fell due. Not architectural:
   * it lets the instruction go on without paying for its start again, and an event that is taken here push RF = 1.
   */
  repeating: cell(46),
  /** The four page-directory-pointer-table registers of PAE paging, one after the other (SDM vol. 3, 4.4.1). */
  pdpte0: cell(88),
  /** 1 when a task switch has just loaded RF, which the end of its instruction then leaves alone. Not architectural. */
  resumeLoaded: cell(92),
  /** B0 to B3 of the data and I/O breakpoints that were met since the last boundary; they become pending there. */
  breakpointsMet: cell(93),
  /** 1 after MONITOR until MWAIT, or until an event is taken. Not architectural. */
  monitorArmed: cell(94),
} as const;

/** Segment registers in encoding order, then the system segments. */
export const SEG = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5, ldtr: 6, tr: 7 } as const;
export const SEGMENT_COUNT = 8;
export const SEGMENT_NAMES = ["es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"] as const;

const SEGMENT_CELLS = cell(5);
const FIRST_SEGMENT = cell(48);
/** Cells of a segment register's parts. */
export const selectorCell = (segment: number): number => FIRST_SEGMENT + segment * SEGMENT_CELLS;
export const baseCell = (segment: number): number => FIRST_SEGMENT + segment * SEGMENT_CELLS + 2;
export const limitCell = (segment: number): number => FIRST_SEGMENT + segment * SEGMENT_CELLS + 4;
export const rightsCell = (segment: number): number => FIRST_SEGMENT + segment * SEGMENT_CELLS + 6;
export const fastCell = (segment: number): number => FIRST_SEGMENT + segment * SEGMENT_CELLS + 8;

/** `fast` bits: accesses of the kind need no check at all (expand-up, limit 4 GB - 1, base any). */
export const FAST_READ = 1;
export const FAST_WRITE = 2;

/** Temporaries of micro-ops; they carry nothing from one instruction to the next. */
export const FIRST_TEMPORARY = cell(96);
export const TEMPORARY_COUNT = 32;
export const temporaryCell = (n: number): number => FIRST_TEMPORARY + n * 2;

/**
 * The x87 (SDM vol. 1, 8.1): behind the temporaries and the MTRRs. Register R0 to R7 has two cells, significand and then
 * sign with exponent; `valid` has a bit for each register that is not empty (the other tags follow from the contents).
 */
const FIRST_X87 = cell(192);
export const X87 = {
  control: FIRST_X87 + cell(16),
  /** Without B, which is ES again. */
  status: FIRST_X87 + cell(17),
  valid: FIRST_X87 + cell(18),
  instructionOffset: FIRST_X87 + cell(19),
  instructionSelector: FIRST_X87 + cell(20),
  dataOffset: FIRST_X87 + cell(21),
  dataSelector: FIRST_X87 + cell(22),
  /** Last opcode, 11 bits. */
  opcode: FIRST_X87 + cell(23),
  /** Where 8-byte memory operands pass; holds nothing from one instruction to the next. */
  transfer: FIRST_X87 + cell(24),
} as const;
/** The cells of the x87, in units of 32 bits. */
export const X87_CELLS = { first: FIRST_X87, end: FIRST_X87 + cell(25) } as const;
/** Cell of the significand of physical register `n`; sign and exponent are in the next cell. */
export const x87RegisterCell = (n: number): number => FIRST_X87 + n * cell(2);

/**
 * XMM registers (SDM vol. 1, 10.2.2): two cells each, four words from low to high; 8 to 15 exist in 64-bit mode only. The
 * MMX registers are the significands of the x87's.
 */
const FIRST_XMM = cell(218);
export const xmmCell = (n: number): number => FIRST_XMM + n * cell(2);
/** SIMD floating-point control and status (SDM vol. 1, 10.2.3). */
export const MXCSR = cell(250);
/** MXCSR after a reset: all exceptions masked, round to nearest. */
export const MXCSR_INITIAL = 0x1f80;
/** Cells of x87, MMX and SSE, in units of 32 bits: they stay in the processor across VM exits. */
export const FLOATING_CELLS = { first: FIRST_X87, end: MXCSR + cell(1) } as const;

/** EFLAGS bits (SDM vol. 1, 3.4.3). */
export const FLAG = {
  CF: 1 << 0,
  ONE: 1 << 1,
  PF: 1 << 2,
  AF: 1 << 4,
  ZF: 1 << 6,
  SF: 1 << 7,
  TF: 1 << 8,
  IF: 1 << 9,
  DF: 1 << 10,
  OF: 1 << 11,
  IOPL: 3 << 12,
  NT: 1 << 14,
  RF: 1 << 16,
  VM: 1 << 17,
  AC: 1 << 18,
  VIF: 1 << 19,
  VIP: 1 << 20,
  ID: 1 << 21,
} as const;
export const STATUS_FLAGS = FLAG.CF | FLAG.PF | FLAG.AF | FLAG.ZF | FLAG.SF | FLAG.OF;

export const CR0 = {
  PE: 1 << 0,
  MP: 1 << 1,
  EM: 1 << 2,
  TS: 1 << 3,
  ET: 1 << 4,
  NE: 1 << 5,
  WP: 1 << 16,
  AM: 1 << 18,
  NW: 1 << 29,
  CD: 1 << 30,
  PG: 1 << 31,
} as const;
export const CR4 = {
  VME: 1 << 0,
  PVI: 1 << 1,
  TSD: 1 << 2,
  DE: 1 << 3,
  PSE: 1 << 4,
  PAE: 1 << 5,
  MCE: 1 << 6,
  PGE: 1 << 7,
  PCE: 1 << 8,
  OSFXSR: 1 << 9,
  OSXMMEXCPT: 1 << 10,
  VMXE: 1 << 13,
} as const;
export const EFER = { SCE: 1 << 0, LME: 1 << 8, LMA: 1 << 10, NXE: 1 << 11 } as const;

/** Access-rights bits. */
export const RIGHTS = {
  TYPE: 0xf,
  ACCESSED: 1,
  WRITABLE_OR_READABLE: 2,
  EXPAND_DOWN_OR_CONFORMING: 4,
  CODE: 8,
  S: 1 << 4,
  DPL_SHIFT: 5,
  P: 1 << 7,
  AVL: 1 << 12,
  L: 1 << 13,
  DB: 1 << 14,
  G: 1 << 15,
  UNUSABLE: 1 << 16,
} as const;

/** Flat segments of 32-bit code and a task state that is in use: limit in bytes, rights at DPL 0, accessed. */
export const FLAT_LIMIT = 0xffffffff;
export const FLAT_CODE = 0xb | RIGHTS.S | RIGHTS.P | RIGHTS.DB | RIGHTS.G;
export const FLAT_DATA = 0x3 | RIGHTS.S | RIGHTS.P | RIGHTS.DB | RIGHTS.G;
export const BUSY_TSS = 0xb | RIGHTS.P;

/** Interruptibility bits (SDM vol. 3, 25.4.2). */
export const BLOCKING = { STI: 1, MOV_SS: 2, SMI: 4, NMI: 8 } as const;
export const ACTIVITY = { ACTIVE: 0, HLT: 1, SHUTDOWN: 2 } as const;

/** Exception vectors (SDM vol. 3, table 6-1). */
export const VECTOR = {
  DE: 0,
  DB: 1,
  NMI: 2,
  BP: 3,
  OF: 4,
  BR: 5,
  UD: 6,
  NM: 7,
  DF: 8,
  TS: 10,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
  MC: 18,
  XM: 19,
} as const;

/** What an instruction left behind instead of completing. */
export const OUTCOME = {
  NONE: 0,
  /** An exception: `vector`, `errorCode`, and for #PF `address`. */
  FAULT: 1,
  /** VMX non-root operation: the instruction causes a VM exit; `exitReason`, `qualification`. */
  EXIT: 2,
  /** The simulator does not model this: `detail` says what. */
  UNMODELLED: 3,
  /** INT n, INT3, INTO or INT1: `vector` and `interruptKind`; whoever runs the instruction delivers it. */
  INTERRUPT: 4,
  /** The processor waits for an interrupt at this instruction, which has done nothing (ACTIVITY.HLT is set). */
  WAITS: 5,
} as const;

/** Kinds of software interrupts (SDM vol. 3, table 25-17's interruption types). */
export const INTERRUPT_KIND = { SOFTWARE: 0, SOFTWARE_EXCEPTION: 1, PRIVILEGED: 2 } as const;

/** Marks an exception without error code. */
export const NO_ERROR_CODE = -1;

/** The signal of the instruction in progress; one per processor, reused, so that no fault allocates. */
export class Signal {
  outcome: number = OUTCOME.NONE;
  vector = 0;
  /** Error code, or NO_ERROR_CODE. */
  errorCode: number = NO_ERROR_CODE;
  /** Linear address of a page fault. */
  address = 0;
  interruptKind = 0;
  exitReason = 0;
  qualification = 0;
  /** Instruction information or guest-linear address of an exit, where the reason has one. */
  exitDetail = 0;
  detail = "";
  /** Length in bytes of the instruction that left this signal; set by the interpreter. */
  length = 0;
}

/** State as plain data, for export between techniques and save/restore: all cells, as 32-bit words. */
export type SavedState = readonly number[];

export class CpuState {
  readonly i32: Int32Array;
  readonly u64: BigUint64Array;
  /** The cells as single-precision (by cell) and double-precision (by half a cell) values, for SSE. */
  readonly f32: Float32Array;
  readonly f64: Float64Array;
  readonly signal = new Signal();

  /** State at `byteOffset` of `buffer` (a machine's memory), or in memory of its own (a virtual processor). */
  constructor(buffer: ArrayBufferLike = new ArrayBuffer(STATE_BYTES), byteOffset = 0) {
    this.i32 = new Int32Array(buffer, byteOffset, STATE_BYTES / 4);
    this.u64 = new BigUint64Array(buffer, byteOffset, STATE_BYTES / 8);
    this.f32 = new Float32Array(buffer, byteOffset, STATE_BYTES / 4);
    this.f64 = new Float64Array(buffer, byteOffset, STATE_BYTES / 8);
  }

  /** Low 32 bits of a cell, unsigned. */
  get(cellNumber: number): number {
    return (this.i32[cellNumber] as number) >>> 0;
  }

  /** Writes 32 bits and zeroes the upper half. */
  set(cellNumber: number, value: number): void {
    this.i32[cellNumber] = value;
    this.i32[cellNumber + 1] = 0;
  }

  /** A cell as a non-negative JavaScript number; exact for addresses (48 bits). */
  getNumber(cellNumber: number): number {
    const low = (this.i32[cellNumber] as number) >>> 0;
    const high = this.i32[cellNumber + 1] as number;
    return high === 0 ? low : (high >>> 0) * 4294967296 + low;
  }

  /** Writes a non-negative number below 2^53 to a whole cell. */
  setNumber(cellNumber: number, value: number): void {
    // The cell takes the value modulo 2^32.
    this.i32[cellNumber] = value;
    this.i32[cellNumber + 1] = value < 4294967296 ? 0 : (value / 4294967296) | 0;
  }

  get eip(): number {
    return (this.i32[CELL.rip] as number) >>> 0;
  }

  set eip(value: number) {
    this.set(CELL.rip, value);
  }

  get flags(): number {
    return this.i32[CELL.rflags] as number;
  }

  set flags(value: number) {
    this.set(CELL.rflags, value);
  }

  get cpl(): number {
    return this.i32[CELL.cpl] as number;
  }

  get cr0(): number {
    return this.i32[CELL.cr0] as number;
  }

  get cr4(): number {
    return this.i32[CELL.cr4] as number;
  }

  /** The four PDPTE registers, as halves. */
  pdptes(): readonly (readonly [low: number, high: number])[] {
    return [0, 1, 2, 3].map((n) => {
      const register = CELL.pdpte0 + cell(n);
      return [this.i32[register] as number, this.i32[register + 1] as number];
    });
  }

  selector(segment: number): number {
    return this.i32[selectorCell(segment)] as number;
  }

  /** Segment base; above 2^32 only for FS and GS in 64-bit mode. */
  segmentBase(segment: number): number {
    return this.getNumber(baseCell(segment));
  }

  segmentLimit(segment: number): number {
    return (this.i32[limitCell(segment)] as number) >>> 0;
  }

  segmentRights(segment: number): number {
    return this.i32[rightsCell(segment)] as number;
  }

  /** Sets all parts of a segment register without any check, and what is derived from them. */
  setSegment(segment: number, selector: number, base: number, limit: number, rights: number): void {
    const { i32 } = this;
    const first = selectorCell(segment);
    i32[first] = selector & 0xffff;
    i32[first + 1] = 0;
    this.setNumber(first + 2, base);
    i32[first + 4] = limit;
    i32[first + 5] = 0;
    i32[first + 6] = rights;
    i32[first + 7] = 0;
    i32[first + 8] = fastAccess(limit, rights);
    i32[first + 9] = 0;
  }

  /** Recomputes `fast` from limit and rights; call after writing these cells directly. */
  refreshSegment(segment: number): void {
    this.set(fastCell(segment), fastAccess(this.segmentLimit(segment), this.segmentRights(segment)));
  }

  /** Copies x87, MMX and SSE registers from another state. */
  copyFloatingFrom(other: CpuState): void {
    this.i32.set(other.i32.subarray(FLOATING_CELLS.first, FLOATING_CELLS.end), FLOATING_CELLS.first);
  }

  /** Copies every cell from another state. */
  copyFrom(other: CpuState): void {
    this.i32.set(other.i32);
  }

  /** All cells; temporaries, which hold nothing between instructions, as zeroes. */
  save(): SavedState {
    return Array.from(this.i32).fill(0, FIRST_TEMPORARY, FIRST_TEMPORARY + 2 * TEMPORARY_COUNT);
  }

  restore(saved: SavedState): void {
    this.i32.set(saved);
  }
}

/** FAST_READ and FAST_WRITE of a segment with this limit and these rights. */
function fastAccess(limit: number, rights: number): number {
  if (limit >>> 0 !== 0xffffffff || (rights & (RIGHTS.UNUSABLE | RIGHTS.P | RIGHTS.S)) !== (RIGHTS.P | RIGHTS.S))
    return 0;
  const readOrWrite = (rights & RIGHTS.WRITABLE_OR_READABLE) !== 0;
  if ((rights & RIGHTS.CODE) !== 0) return readOrWrite ? FAST_READ : 0;
  if ((rights & RIGHTS.EXPAND_DOWN_OR_CONFORMING) !== 0) return 0;
  return readOrWrite ? FAST_READ | FAST_WRITE : FAST_READ;
}

/** The mode of the processor in words: `real mode`, `virtual-8086 mode`, `16-bit protected mode`, `32-bit protected mode`. */
export function modeName(state: CpuState): string {
  if ((state.cr0 & CR0.PE) === 0) return "real mode";
  if ((state.flags & FLAG.VM) !== 0) return "virtual-8086 mode";
  return `${(state.segmentRights(SEG.cs) & RIGHTS.DB) === 0 ? 16 : 32}-bit protected mode`;
}

/** Signals an exception; the instruction must stop without having committed anything. */
export function raise(state: CpuState, vector: number, errorCode: number = NO_ERROR_CODE): void {
  const signal = state.signal;
  signal.outcome = OUTCOME.FAULT;
  signal.vector = vector;
  signal.errorCode = errorCode;
}

/** Signals #PF; CR2 is written at delivery, not here (a VM exit for a page fault leaves CR2 alone). */
export function raisePageFault(state: CpuState, address: number, errorCode: number): void {
  raise(state, VECTOR.PF, errorCode);
  state.signal.address = address;
}

/** Signals something that the simulator does not model; stops the run without an architectural effect. */
export function unmodelled(state: CpuState, detail: string): void {
  state.signal.outcome = OUTCOME.UNMODELLED;
  state.signal.detail = detail;
}
