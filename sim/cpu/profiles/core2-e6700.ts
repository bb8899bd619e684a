/**
 * Intel Core 2 Duo E6700: Conroe, B2 stepping, CPUID 06F6, 2.66 GHz, July 2006; one of its two cores. Adams & Agesen 2006
 * measured a pre-production part of this clock. The clock is 10 x 266 2/3 MHz; profiles have whole MHz, and the published
 * "2.66 GHz" (with 937 cycles = 352 ns) is met by 2660.
 *
 * Costs follow the rules of pentium4-672.ts: an in-order sum, so each is an approximation; throughput for what the
 * pipelines take every cycle, latency for what takes long. `MEROM` in a source points to Agner Fog's Merom table
 * beyond the rows in results/published; such values were not checked against a copy, hence `derived`.
 *
 * Nothing native was published for this machine's transitions, and nothing is fitted here. What microcode does on the
 * way between rings is scaled from the Pentium 4 by the one ratio of its kind that is published for both: far CALL and RET
 * (AGNER-043 + AGNER-044 over AGNER-009 + AGNER-010 = 153 / 320 = 0.478), `FAR` in a source.
 *
 * Simplified as in pentium4-672.ts, CPUID included: the second core, performance monitoring (leaf 0A), thermal
 * monitoring and EIST are reported as by the real processor and not modelled.
 */
import { core2Capabilities } from "../vmx/first-generation.ts";
import { brandString, text } from "./cpuid.ts";
import { pentium4_672 } from "./pentium4-672.ts";
import type { CostName, Profile, Sourced } from "./profile.ts";
import { derived, nearestTwelfth, published, publishedRounded } from "./sourced.ts";

const FAR = (75 + 78) / (160 + 160);
const SERIALISING = "lower bound of AGNER-045 (CPUID 180-215): what serialising costs, without CPUID's own result";

/** A transition of the Pentium 4 scaled by `FAR`, to the nearest cycle. */
function scaled(cost: CostName): Sourced {
  const original = pentium4_672.costs[cost].value;
  return derived(Math.round(original * FAR), `Pentium 4's ${original} x FAR 0.478, to the nearest cycle`);
}

export const core2_e6700: Profile = {
  name: "core2-e6700",
  title: "Intel Core 2 Duo E6700 (Conroe), 2.66 GHz",
  year: 2006,
  frequencyMHz: 2660,
  features: [...pentium4_672.features, "ssse3"],
  // As dumped from Conroe parts of stepping 06F6; the brand string is the E6700's.
  cpuid: {
    0: { eax: 10, ebx: text("Genu"), edx: text("ineI"), ecx: text("ntel") },
    // EBX: CLFLUSH line 64 bytes, two logical processors per package (the simulator has one of the cores).
    // ECX: SSE3 DTES64 MONITOR DS-CPL VMX EIST TM2 SSSE3 CMPXCHG16B xTPR PDCM. EDX as the Pentium 4's.
    1: { eax: 0x06f6, ebx: 0x0002_0800, ecx: 0x0000_e3bd, edx: 0xbfeb_fbff },
    // B1 B0 ITLB; 05 B4 DTLB1; 57 56 DTLB0; F0 prefetch; 2C 30 L1; 49 L2 4 MB.
    2: { eax: 0x05b0_b101, ebx: 0x0056_57f0, ecx: 0, edx: 0x2cb4_3049 },
    3: { eax: 0, ebx: 0, ecx: 0, edx: 0 },
    4: { eax: 0, ebx: 0, ecx: 0, edx: 0 },
    5: { eax: 0x40, ebx: 0x40, ecx: 3, edx: 0x20 },
    6: { eax: 1, ebx: 2, ecx: 1, edx: 0 },
    7: { eax: 0, ebx: 0, ecx: 0, edx: 0 },
    8: { eax: 0x400, ebx: 0, ecx: 0, edx: 0 },
    9: { eax: 0, ebx: 0, ecx: 0, edx: 0 },
    10: { eax: 0x0728_0202, ebx: 0, ecx: 0, edx: 0 },
    2147483648: { eax: 0x8000_0008, ebx: 0, ecx: 0, edx: 0 },
    // LAHF in 64-bit mode, XD, EM64T; bit 11 (SYSCALL) reads 0 outside 64-bit mode.
    2147483649: { eax: 0, ebx: 0, ecx: 1, edx: 0x2010_0000 },
    ...brandString("Intel(R) Core(TM)2 CPU          6700  @ 2.66GHz"),
    2147483653: { eax: 0, ebx: 0, ecx: 0, edx: 0 },
    2147483654: { eax: 0, ebx: 0, ecx: 0x1000_8040, edx: 0 },
    2147483655: { eax: 0, ebx: 0, ecx: 0, edx: 0 },
    2147483656: { eax: 0x3024, ebx: 0, ecx: 0, edx: 0 },
  },
  physicalAddressBits: 36,
  linearAddressBits: 48,
  instructionTlb: {
    small: { entries: 128, ways: 4, replacement: "fifo" },
    large: { entries: 4, ways: 4, replacement: "fifo" },
    large2M: { entries: 8, ways: 4, replacement: "fifo" },
    source: "CPUID leaf 2 descriptors B0 and B1 (4 entries for 4 MB pages, 8 for 2 MB pages); FIFO is ours",
  },
  dataTlb: {
    small: { entries: 16, ways: 4, replacement: "fifo" },
    large: { entries: 16, ways: 4, replacement: "fifo" },
    secondSmall: { entries: 256, ways: 4, replacement: "fifo" },
    secondLarge: { entries: 32, ways: 4, replacement: "fifo" },
    source: "CPUID leaf 2 descriptors 57, 56, B4 and 05; in the real processor DTLB0 serves loads alone; FIFO is ours",
  },
  returnStackEntries: 16,
  indirectTargets: 2048,
  costs: {
    // plain instructions
    alu: derived(1 / 3, "three ALU ports: MEROM 0.33"),
    load: derived(
      2 / 3,
      "one load port, 1 a cycle: MOV r,[m] = alu + load = 1; the latency of 3 (ILM-008) is taken to be hidden",
    ),
    store: derived(2 / 3, "one store port, 1 a cycle: MOV [m],r = alu + store = 1"),
    lea: derived(1, "MEROM: one port"),
    nop: derived(1 / 3, "MEROM 0.33"),
    aluCarry: derived(2, "MEROM: 2 micro-ops, latency 2"),
    shift: derived(1 / 2, "MEROM: two ports"),
    shiftByCl: derived(1, "a flag dependency on top of a shift"),
    rotateCarry: derived(2, "MEROM: by 1, latency 2; by a count they take longer, which is not modelled"),
    doubleShift: derived(2, "MEROM: latency 2"),
    multiply: derived(3, "MEROM: latency 3"),
    multiplyWide: derived(5, "MEROM: latency 5"),
    divide: derived(30, "MEROM: latency 18 to 42 by the operands: the middle"),
    bitTest: derived(1, "one micro-op"),
    bitString: derived(5, "address arithmetic in microcode"),
    bitScan: derived(2, "MEROM: latency 2"),
    byteSwap: derived(1, "MEROM: 2 micro-ops"),
    conditionalMove: derived(1, "MEROM: 2 micro-ops, throughput 1"),
    signExtend: derived(1 / 3, "one micro-op, as alu"),
    exchange: derived(1, "three register moves"),
    locked: derived(
      22.75,
      "ILX-023: XCHG r32,[m32] takes 25.1 in all; less exchange 1, load 2/3, store 2/3, to the nearest quarter",
    ),
    compareExchange8: derived(6, "a dozen micro-ops at two a cycle"),
    push: derived(1, "one store a cycle"),
    pop: derived(1, "one load a cycle"),
    pushAll: derived(8, "8 stores, one a cycle"),
    popAll: derived(8, "7 loads and the microcode's start"),
    enter: derived(8, "push, move and subtract in microcode"),
    leave: derived(4 / 3, "a move and a POP"),
    xlat: derived(1, "address generation and a load"),
    decimal: derived(12, "microcode; between a carry chain and a division"),
    bound: derived(6, "two loads and two compares in microcode"),
    flagBit: derived(1 / 3, "MEROM 0.33 for CLC, STC and CMC; CLD and STD take longer, which is not modelled"),
    lahf: derived(1, "one micro-op"),
    pause: published(8, "ILX-022"),
    fence: derived(9, "MEROM: about 9 for MFENCE with nothing in flight; CLFLUSH with its line is 99.42 (ILX-024)"),
    // control flow
    jump: derived(1, "one branch a cycle"),
    branch: derived(1, "predicted; conditional mispredictions are not modelled"),
    call: derived(2, "MEROM: throughput 2"),
    ret: derived(2, "MEROM: throughput 2"),
    jumpIndirect: derived(1, "predicted: as a direct jump"),
    mispredict: derived(15, "the depth of the pipeline, 14 stages, and the restart"),
    // strings
    stringStart: derived(15, "microcode entry and exit of a REP"),
    stringIteration: derived(1, "a load and a store side by side"),
    // system, core-bound
    pushFlags: published(7, "AGNER-039", "ILX-020 agrees"),
    popFlags: published(20, "AGNER-040", "with PUSHF 27; ILX-021 measured 24.5 for the pair"),
    cli: derived(17, "POPF 20 (AGNER-040) in the Pentium 4's ratio of CLI to POPF, 60 / 70"),
    sti: derived(18, "POPF 20 (AGNER-040) in the Pentium 4's ratio of STI to POPF, 64 / 70"),
    segmentLoad: published(16, "AGNER-041"),
    segmentPop: published(17, "AGNER-042"),
    segmentStore: derived(1, "a register move through one port"),
    farJump: derived(73, "farCall (AGNER-043, 75) without its two pushes"),
    farCall: published(75, "AGNER-043"),
    farReturn: published(78, "AGNER-044"),
    farPrivilege: derived(
      26,
      "load of SS 16 (AGNER-041), two words from the TSS 6 (ILM-008), four more stack accesses 4",
    ),
    intSame: scaled("intSame"),
    intInner: scaled("intInner"),
    iretSame: scaled("iretSame"),
    iretOuter: scaled("iretOuter"),
    exception: scaled("exception"),
    pageFault: scaled("pageFault"),
    interrupt: scaled("interrupt"),
    sysenter: scaled("sysenter"),
    sysexit: scaled("sysexit"),
    hlt: scaled("hlt"),
    cpuid: publishedRounded(215.3, "ILX-018", "leaf 1, which the nanobenchmark reads; leaf 0 takes 180.3 (ILX-017)"),
    rdtsc: published(64, "AGNER-046", "ILX-019 agrees"),
    rdpmc: derived(154, "the Pentium 4's 240 in the ratio of RDTSC, 64 / 100"),
    rdmsr: derived(64, "as RDTSC, which reads an MSR"),
    wrmsr: derived(180, SERIALISING),
    readCr: scaled("readCr"),
    writeCr0: derived(180, SERIALISING),
    writeCr3: derived(180, SERIALISING),
    writeCr4: derived(180, SERIALISING),
    clts: derived(17, "as CLI: one bit of a control register"),
    readDr: scaled("readDr"),
    writeDr: derived(180, SERIALISING),
    descriptorTableLoad: derived(180, SERIALISING),
    descriptorTableStore: scaled("descriptorTableStore"),
    lldt: derived(180, SERIALISING),
    ltr: derived(180, SERIALISING),
    lar: derived(16, "reads and checks a descriptor as a segment load does (AGNER-041)"),
    invlpg: derived(180, SERIALISING),
    cacheControl: scaled("cacheControl"),
    portCore: scaled("portCore"),
    taskSwitch: scaled("taskSwitch"),
    // x87, memory operands included
    x87Add: derived(3, "MEROM: latency 3"),
    x87Multiply: derived(5, "MEROM: latency 5"),
    x87Divide: derived(38, "MEROM: latency 6 to 38: extended precision"),
    x87Compare: derived(1, "MEROM: one micro-op, 1 a cycle"),
    x87Load: derived(1, "MEROM: throughput 1"),
    x87LoadInteger: derived(6, "MEROM: latency 6"),
    x87LoadDecimal: derived(76, "MEROM: about 76"),
    x87Store: derived(1, "MEROM: throughput 1; 80 bits take longer, which is not modelled"),
    x87StoreInteger: derived(7, "MEROM: latency 7"),
    x87StoreDecimal: derived(170, "MEROM: about 170"),
    x87Exchange: derived(1, "MEROM: throughput 1"),
    x87Sign: derived(1, "MEROM: latency 1"),
    x87Constant: derived(2, "MEROM: throughput 1 to 2"),
    x87ConditionalMove: derived(2, "MEROM: latency 2"),
    x87SquareRoot: derived(69, "MEROM: latency 6 to 69: extended precision"),
    x87Round: derived(14, "MEROM: about 14"),
    x87Scale: derived(43, "MEROM: about 43"),
    x87Extract: derived(15, "MEROM: about 15"),
    x87Remainder: derived(27, "MEROM: 26 to 29, by the operands"),
    x87Initialize: derived(93, "MEROM: FNINIT about 93; FNCLEX takes less, which is not modelled"),
    x87LoadControl: derived(8, "MEROM: latency 8"),
    x87StoreControl: derived(1, "MEROM: throughput 1"),
    x87StoreStatus: derived(2, "MEROM: throughput 2"),
    x87Wait: derived(1, "MEROM: throughput 1"),
    x87Environment: derived(60, "MEROM: about 60"),
    x87State: derived(160, "MEROM: FNSAVE 142, FRSTOR 177: the middle"),
    x87Sine: derived(100, "MEROM: FSIN, FCOS 80 to 120 by the operand: the middle"),
    x87SineCosine: derived(115, "MEROM: about 115"),
    x87Tangent: derived(140, "MEROM: about 140"),
    x87Arctangent: derived(130, "MEROM: about 130"),
    x87Exponential: derived(70, "MEROM: about 70"),
    x87Logarithm: derived(90, "MEROM: about 90"),
    // MMX and SSE
    simdMove: derived(1 / 3, "MEROM: 0.33"),
    simdStore: derived(1 / 3, "as alu: the store comes on top"),
    simdAlu: derived(1 / 2, "MEROM: throughput 0.5"),
    simdQuadword: derived(1, "MEROM: throughput 1"),
    simdMultiply: derived(3, "MEROM: latency 3"),
    simdSumDifferences: derived(3, "MEROM: latency 3"),
    simdShift: derived(1, "MEROM: throughput 1"),
    simdShuffle: derived(1, "MEROM: throughput 1 to 2"),
    simdHorizontal: derived(5, "MEROM: latency 5 to 6"),
    simdToGeneral: derived(2, "MEROM: latency 2"),
    simdFromGeneral: derived(2, "MEROM: latency 2"),
    simdMaskedStore: derived(8, "MEROM: about 8 with its stores hidden"),
    emms: derived(6, "MEROM: throughput 6"),
    sseLogic: derived(1 / 3, "MEROM: throughput 0.33"),
    sseShuffle: derived(1, "MEROM: throughput 1"),
    sseAdd: derived(3, "MEROM: latency 3"),
    sseMultiply: derived(4, "MEROM: latency 4 for single, 5 for double precision: the former"),
    sseDivideSingle: derived(18, "MEROM: latency 6 to 18"),
    sseDivideDouble: derived(32, "MEROM: latency 6 to 32"),
    sseDividePackedSingle: derived(18, "MEROM: latency 6 to 18"),
    sseDividePackedDouble: derived(32, "MEROM: latency 6 to 32"),
    sseRootSingle: derived(29, "MEROM: latency 6 to 29"),
    sseRootDouble: derived(58, "MEROM: latency 6 to 58"),
    sseRootPackedSingle: derived(29, "MEROM: latency 6 to 29"),
    sseRootPackedDouble: derived(58, "MEROM: latency 6 to 58"),
    sseReciprocal: derived(3, "MEROM: latency 3"),
    sseCompareFlags: derived(3, "MEROM: latency 3"),
    sseConvert: derived(4, "MEROM: latency 3 to 4"),
    sseHorizontal: derived(9, "MEROM: latency 9"),
    mxcsrLoad: derived(5, "MEROM: about 5"),
    mxcsrStore: derived(2, "MEROM: about 2"),
    fxsave: derived(100, "MEROM: about 100"),
    fxrstor: derived(120, "MEROM: about 120"),
    monitor: derived(64, "no value published: as RDTSC"),
    mwait: derived(200, "no value published: as HLT"),
    // memory system
    pageCross: derived(14, "as on the Pentium 4, the depth of the pipeline"),
    tlbSecondLevel: derived(2, "Intel's optimization manual: a DTLB0 miss that hits DTLB1 costs 2"),
    walkStart: derived(1, "ILM-011 less ILM-010: a DTLB miss costs 7 = walkStart + 2 references of 3"),
    walkReference: published(3, "ILM-008", "first-level hit"),
    walkUpdate: publishedRounded(25.1, "ILX-023", "a locked read-modify-write"),
    apicRead: scaled("apicRead"),
    apicWrite: scaled("apicWrite"),
    // VMX
    vmxon: derived(215, "no value published: priced like CPUID, serialising with checks"),
    vmptrld: derived(215, "no value published: priced like CPUID"),
    vmread: published(52, "AA06T-006"),
    vmwrite: published(44, "AA06T-008"),
    vmentry: published(937, "AA06T-002"),
    vmexit: published(1186, "AA06T-004", "of a page fault; other exits are taken to cost the same"),
  },
  monitorCpi: derived(
    nearestTwelfth((pentium4_672.monitorCpi.value * 16) / 28),
    "the Pentium 4's, scaled by second-level cache latency, 16 / 28 (ILM-009, ILM-002): after an exit a handler runs from the second-level cache; nothing is fitted here",
    "cycles/instruction",
  ),
  deprivilegedCpi: derived(
    nearestTwelfth((pentium4_672.deprivilegedCpi.value * 16) / 28),
    "the Pentium 4's, scaled as monitorCpi is; nothing is fitted here",
    "cycles/instruction",
  ),
  translation: derived(
    nearestTwelfth((pentium4_672.translation.value * 16) / 28),
    "the Pentium 4's, scaled as monitorCpi is",
    "cycles/instruction",
  ),
  vmx: core2Capabilities,
};
