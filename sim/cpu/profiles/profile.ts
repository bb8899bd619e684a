/**
 * A processor profile: everything that makes one simulated processor differ from another, as data with sources.
 * No cycle literal stands in code; code names a cost, the profile gives its value.
 */
import { cyclesToTicks } from "../../clock.ts";

/** Where a number comes from. `calibrated` numbers were fitted and must name the one cell they were fitted to. */
export type Mark = "published" | "derived" | "calibrated";

/** A value with its unit and source; docs/COSTS.md is generated from these. */
export interface Sourced {
  readonly value: number;
  readonly unit: "cycles" | "ns" | "count" | "MHz" | "cycles/instruction";
  readonly mark: Mark;
  /** Publication and row id, or the reasoning. */
  readonly source: string;
  /** The published cell that a calibrated value was fitted to. */
  readonly cell?: string;
}

/**
 * Names of all costs, in cycles of the core. Instruction costs are what the instruction adds in straight-line code
 * with its data in the first-level cache and its translations in the TLB; memory operands add `load` and `store`.
 */
export const COSTS = {
  // plain instructions
  alu: "MOV, ADD, AND, CMP... register or immediate operands; address generation included",
  load: "added by each memory operand read",
  store: "added by each memory operand written",
  lea: "LEA",
  nop: "NOP",
  aluCarry: "ADC, SBB",
  shift: "SHL, SHR, SAR, ROL, ROR by an immediate",
  shiftByCl: "shifts and rotates by CL",
  rotateCarry: "RCL, RCR",
  doubleShift: "SHLD, SHRD",
  multiply: "IMUL with two or three operands",
  multiplyWide: "MUL, IMUL with a double-width result",
  divide: "DIV, IDIV",
  bitTest: "BT, BTS, BTR, BTC on a register or with an immediate",
  bitString: "added by BT* with a register bit offset into memory",
  bitScan: "BSF, BSR",
  byteSwap: "BSWAP",
  conditionalMove: "CMOVcc, SETcc",
  signExtend: "CBW, CWDE, CWD, CDQ, MOVSX, MOVZX",
  exchange: "XCHG of registers, XADD, CMPXCHG of a register",
  locked: "added by a LOCK prefix or XCHG with memory",
  compareExchange8: "CMPXCHG8B",
  push: "PUSH (its store included)",
  pop: "POP (its load included)",
  pushAll: "PUSHA",
  popAll: "POPA",
  enter: "ENTER with level 0",
  leave: "LEAVE",
  xlat: "XLAT",
  decimal: "DAA, DAS, AAA, AAS, AAM, AAD",
  bound: "BOUND, INTO, not taken",
  flagBit: "CLC, STC, CMC, CLD, STD",
  lahf: "LAHF, SAHF",
  pause: "PAUSE",
  fence: "memory fences, CLFLUSH without its line",
  // control flow
  jump: "JMP direct",
  branch: "Jcc, LOOPcc, JECXZ",
  call: "CALL near (its store included)",
  ret: "RET near predicted by the return stack (its load included)",
  jumpIndirect: "JMP, CALL through a register or memory, predicted (added to call)",
  mispredict: "penalty of a mispredicted return or indirect branch",
  // strings
  stringStart: "start of a REP string instruction",
  stringIteration: "each iteration of MOVS, STOS, LODS, SCAS, CMPS, INS, OUTS (loads and stores included)",
  // system, core-bound
  pushFlags: "PUSHF",
  popFlags: "POPF",
  cli: "CLI",
  sti: "STI",
  segmentLoad: "MOV to a segment register, protected mode",
  segmentPop: "POP to a segment register, LDS and its kin",
  segmentStore: "MOV from a segment register, PUSH of one",
  farJump: "JMP far, same privilege",
  farCall: "CALL far, same privilege",
  farReturn: "RET far, same privilege",
  farPrivilege: "added by a far transfer that changes privilege (stack switch)",
  intSame: "INT n, INT3, INTO taken: delivery at the same privilege",
  intInner: "INT n delivery to an inner ring with a stack switch",
  iretSame: "IRET to the same privilege",
  iretOuter: "IRET to an outer ring",
  exception: "delivery of a fault (other than #PF) to a handler: from fault to first handler instruction",
  pageFault: "delivery of #PF to a handler",
  interrupt: "delivery of an external interrupt, without the acknowledge cycle on the bus",
  sysenter: "SYSENTER",
  sysexit: "SYSEXIT",
  hlt: "HLT entry and wake-up",
  cpuid: "CPUID",
  rdtsc: "RDTSC",
  rdpmc: "RDPMC",
  rdmsr: "RDMSR",
  wrmsr: "WRMSR",
  readCr: "MOV from CRn, SMSW",
  writeCr0: "MOV to CR0, LMSW",
  writeCr3: "MOV to CR3 (refill of the TLB comes on top, by the misses it causes)",
  writeCr4: "MOV to CR4",
  clts: "CLTS",
  readDr: "MOV from DRn",
  writeDr: "MOV to DRn",
  descriptorTableLoad: "LGDT, LIDT",
  descriptorTableStore: "SGDT, SIDT, SLDT, STR",
  lldt: "LLDT",
  ltr: "LTR",
  lar: "LAR, LSL, VERR, VERW",
  invlpg: "INVLPG",
  cacheControl: "INVD, WBINVD",
  portCore: "core's part of IN and OUT (the bus's is in the board file)",
  taskSwitch: "a hardware task switch without its memory references",
  // x87, memory operands included
  x87Add: "FADD, FSUB and their kin",
  x87Multiply: "FMUL, FIMUL",
  x87Divide: "FDIV, FIDIV and their kin",
  x87Compare: "FCOM, FUCOM, FCOMI, FTST, FXAM and their kin",
  x87Load: "FLD of a register or memory",
  x87LoadInteger: "FILD",
  x87LoadDecimal: "FBLD",
  x87Store: "FST, FSTP",
  x87StoreInteger: "FIST, FISTP, FISTTP",
  x87StoreDecimal: "FBSTP",
  x87Exchange: "FXCH, FINCSTP, FDECSTP, FFREE, FNOP",
  x87Sign: "FCHS, FABS",
  x87Constant: "FLDZ, FLD1, FLDPI and their kin",
  x87ConditionalMove: "FCMOVcc",
  x87SquareRoot: "FSQRT",
  x87Round: "FRNDINT",
  x87Scale: "FSCALE",
  x87Extract: "FXTRACT",
  x87Remainder: "FPREM, FPREM1",
  x87Initialize: "FNINIT, FNCLEX",
  x87LoadControl: "FLDCW",
  x87StoreControl: "FNSTCW",
  x87StoreStatus: "FNSTSW",
  x87Wait: "FWAIT",
  x87Environment: "FLDENV, FNSTENV (loads and stores included)",
  x87State: "FRSTOR, FNSAVE (loads and stores included)",
  x87Sine: "FSIN, FCOS",
  x87SineCosine: "FSINCOS",
  x87Tangent: "FPTAN",
  x87Arctangent: "FPATAN",
  x87Exponential: "F2XM1",
  x87Logarithm: "FYL2X, FYL2XP1",
  // MMX and SSE
  simdMove: "MOVAPS, MOVDQA, MOVQ, MOVSS, MOVUPS and their kin between registers and from memory",
  simdStore: "the same to memory, non-temporal stores, MOVNTI",
  simdAlu: "packed integer additions, comparisons, logic, minimum, maximum, average, sign",
  simdQuadword: "PADDQ, PSUBQ",
  simdMultiply: "PMULLW, PMADDWD, PMULUDQ and their kin",
  simdSumDifferences: "PSADBW",
  simdShift: "packed shifts",
  simdShuffle: "packed integer unpack, pack, shuffle, PALIGNR",
  simdHorizontal: "PHADDW, PHSUBW and their kin",
  simdToGeneral: "MOVD, PEXTRW, PMOVMSKB, MOVMSKPS into a general register",
  simdFromGeneral: "MOVD, PINSRW from a general register",
  simdMaskedStore: "MASKMOVQ, MASKMOVDQU (stores included)",
  emms: "EMMS",
  sseLogic: "ANDPS, ORPS, XORPS and their kin",
  sseShuffle: "SHUFPS, UNPCKLPS, MOVDDUP and their kin",
  sseAdd: "ADDPS, SUBPS, MINPS, MAXPS, CMPPS, ADDSUBPS and their kin, scalar and packed",
  sseMultiply: "MULPS, MULSS, MULPD, MULSD",
  sseDivideSingle: "DIVSS",
  sseDivideDouble: "DIVSD",
  sseDividePackedSingle: "DIVPS",
  sseDividePackedDouble: "DIVPD",
  sseRootSingle: "SQRTSS",
  sseRootDouble: "SQRTSD",
  sseRootPackedSingle: "SQRTPS",
  sseRootPackedDouble: "SQRTPD",
  sseReciprocal: "RCPPS, RSQRTPS and their scalar forms",
  sseCompareFlags: "COMISS, UCOMISS, COMISD, UCOMISD",
  sseConvert: "conversions between integers, single and double precision",
  sseHorizontal: "HADDPS, HSUBPS, HADDPD, HSUBPD",
  mxcsrLoad: "LDMXCSR",
  mxcsrStore: "STMXCSR",
  fxsave: "FXSAVE (stores included)",
  fxrstor: "FXRSTOR (loads included)",
  monitor: "MONITOR",
  mwait: "MWAIT: into the wait and out of it",
  // memory system
  pageCross: "added by an access that crosses a page",
  tlbSecondLevel: "first-level DTLB miss that hits the second level",
  walkStart: "start of a page walk",
  walkReference: "each page-table reference of a walk (first-level cache hit)",
  walkUpdate: "a locked update that sets A or D",
  apicRead: "read of a local APIC register",
  apicWrite: "write of a local APIC register",
  // VMX
  vmxon: "VMXON, VMXOFF",
  vmptrld: "VMPTRLD, VMPTRST, VMCLEAR",
  vmread: "VMREAD",
  vmwrite: "VMWRITE",
  vmentry: "VM entry (VMLAUNCH, VMRESUME)",
  vmexit: "VM exit",
} as const;

export type CostName = keyof typeof COSTS;
export const COST_NAMES = Object.keys(COSTS) as CostName[];

/** Geometry of one TLB. */
export interface TlbGeometry {
  readonly entries: number;
  /** Ways; equal to `entries` for a fully associative one. */
  readonly ways: number;
  readonly replacement: "fifo" | "random";
}

/** TLBs of one side (instruction or data): separate structures by page size where the processor has them. */
export interface TlbSide {
  readonly small: TlbGeometry;
  /** For 4 MB and 2 MB pages; absent when they share `small`. */
  readonly large?: TlbGeometry;
  /** For 2 MB pages, where it is not as `large`. */
  readonly large2M?: TlbGeometry;
  readonly secondSmall?: TlbGeometry;
  readonly secondLarge?: TlbGeometry;
  readonly source: string;
}

export interface CpuidLeaf {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

/** VMX capability MSRs (SDM vol. 3, appendix A); low is allowed-0 (must be 1), high is allowed-1 (may be 1). */
export interface VmxCapabilities {
  /** IA32_VMX_BASIC: revision identifier, region size in bytes. */
  readonly revision: number;
  readonly regionBytes: number;
  readonly pinBased: readonly [must: number, may: number];
  readonly processorBased: readonly [must: number, may: number];
  readonly exit: readonly [must: number, may: number];
  readonly entry: readonly [must: number, may: number];
  readonly cr0Fixed: readonly [must: number, may: number];
  readonly cr4Fixed: readonly [must: number, may: number];
  readonly misc: number;
  readonly source: string;
}

export interface Profile {
  readonly name: string;
  readonly title: string;
  readonly year: number;
  readonly frequencyMHz: number;
  /** Instruction-set extensions that decode; others raise #UD. Names of iced-x86's CpuidFeature, lower case. */
  readonly features: readonly string[];
  /** CPUID leaves by number (and sub-leaf 0); leaves above the maximum return the highest basic one. */
  readonly cpuid: Readonly<Record<number, CpuidLeaf>>;
  readonly physicalAddressBits: number;
  readonly linearAddressBits: number;
  readonly instructionTlb: TlbSide;
  readonly dataTlb: TlbSide;
  /** Entries of the return stack predictor. */
  readonly returnStackEntries: number;
  /** Entries of the last-target table of indirect branches. */
  readonly indirectTargets: number;
  readonly costs: Readonly<Record<CostName, Sourced>>;
  /** Cycles per instruction of monitor software between memory references; fitted as `cell` says. */
  readonly monitorCpi: Sourced;
  /** The same of a monitor that runs its guest de-privileged, in the guest's own address space (classical, bt). */
  readonly deprivilegedCpi: Sourced;
  /** Cycles that a binary translator takes for an instruction of its guest. */
  readonly translation: Sourced;
  readonly vmx: VmxCapabilities | null;
}

/** A profile's costs in ticks, by name. */
export type CostTicks = Readonly<Record<CostName, number>>;

/** CPUID.1:EDX. */
const EDX_PSE36 = 1 << 17;

/** What of CPUID decides which bits of page-table entries are addresses: MAXPHYADDR and PSE-36. */
export function addressAbilities(profile: Profile): { readonly physicalAddressBits: number; readonly pse36: boolean } {
  const { physicalAddressBits, cpuid } = profile;
  return { physicalAddressBits, pse36: ((cpuid[1]?.edx ?? 0) & EDX_PSE36) !== 0 };
}

const ticksOf = new WeakMap<Profile, CostTicks>();

/** The costs of a profile converted to ticks; every cost must be a multiple of 1/12 cycle. */
export function costTicks(profile: Profile): CostTicks {
  const known = ticksOf.get(profile);
  if (known !== undefined) return known;
  const ticks = {} as Record<CostName, number>;
  for (const name of COST_NAMES) ticks[name] = cyclesToTicks(profile.costs[name].value);
  ticksOf.set(profile, ticks);
  return ticks;
}
