/**
 * Intel Pentium 4 672: Prescott 2M (R0 stepping, CPUID 0F4A), 3.8 GHz, November 2005, the first processor with VT-x and
 * the machine of Adams & Agesen 2006. Hyper-threading is off, as in the paper.
 *
 * The cost model adds up what instructions cost one by one: the real processor overlaps them, so every instruction cost
 * is an approximation. Two rules for what has no published value:
 * - what the pipelines take every cycle or so is charged its reciprocal throughput: independent neighbours hide its latency;
 * - what takes long (multiply, divide, carry chains) is charged its latency: the next instruction usually wants the result.
 * `OPT` in a source points to Intel's Optimization Reference Manual (248966), appendix C, family 0F model 3; its values are
 * not in results/published and were not checked against a copy, hence `derived`; so are those of `PRESCOTT`, Agner Fog's
 * table of that name beyond the rows in results/published.
 *
 * The native column of Adams & Agesen is input: costs are chosen so that workloads/nano adds up to it (the arithmetic
 * stands with each cost, test/profiles checks it). Shorthand there, in cycles: `mov r,[m]` 1; `mov [m],r` 1; a
 * read-modify-write such as `inc [m]` 1.5.
 *
 * Simplified: VM exits cost the same whatever their reason (the published one is a page fault's); a serialising
 * instruction has one price however much is in flight; CPUID reports the real processor, also where the simulator does
 * not model what it reports (long mode, debug store, performance and thermal monitoring, EIST). Leaf 4 (cache parameters) needs sub-leaves; it reads
 * as having none, so that enumeration ends and software falls back on the descriptors of leaf 2.
 */
import { pentium4Capabilities } from "../vmx/first-generation.ts";
import { brandString, text } from "./cpuid.ts";
import type { Profile } from "./profile.ts";
import { calibrated, derived, published, publishedRounded } from "./sourced.ts";

const SERIALISING = "lower bound of AGNER-012 (CPUID 300-500): what serialising costs, without CPUID's own result";

export const pentium4_672: Profile = {
  name: "pentium4-672",
  title: "Intel Pentium 4 672 (Prescott 2M), 3.8 GHz",
  year: 2005,
  frequencyMHz: 3800,
  features: [
    ...["intel8086", "intel186", "intel286", "intel386", "intel486", "fpu", "fpu287", "fpu387", "smm"],
    ...["cpuid", "tsc", "msr", "cx8", "cmov", "rdpmc", "multibytenop", "sep", "fxsr", "mmx", "sse", "sse2", "sse3"],
    ...["pause", "clfsh", "monitor", "vmx", "x64", "cmpxchg16b", "syscall"],
  ],
  // Leaves as dumped from a Prescott 2M of stepping 0F43 (Pentium 4 3.00 GHz), with the signature, the brand string and
  // the VMX bit of the 672, and LAHF in 64-bit mode, which steppings after 0F43 gained.
  cpuid: {
    0: { eax: 5, ebx: text("Genu"), edx: text("ineI"), ecx: text("ntel") },
    // EBX: CLFLUSH line 64 bytes, two logical processors per package (hyper-threading exists, although it is off).
    // ECX: SSE3 DTES64 MONITOR DS-CPL VMX EIST CNXT-ID CMPXCHG16B xTPR. EDX: all of FPU..PBE but PSN, IA64 and reserved bits.
    1: { eax: 0x0f4a, ebx: 0x0002_0800, ecx: 0x0000_64bd, edx: 0xbfeb_fbff },
    // 50 ITLB 64 entries, 5B DTLB 64 entries, 60 L1D 16 KB, 40 no L3, 70 trace cache 12 K micro-ops, 7D L2 2 MB.
    2: { eax: 0x605b_5001, ebx: 0, ecx: 0, edx: 0x007d_7040 },
    3: { eax: 0, ebx: 0, ecx: 0, edx: 0 },
    4: { eax: 0, ebx: 0, ecx: 0, edx: 0 },
    5: { eax: 0x40, ebx: 0x40, ecx: 0, edx: 0 },
    2147483648: { eax: 0x8000_0008, ebx: 0, ecx: 0, edx: 0 },
    // XD and EM64T; bit 11 (SYSCALL) reads 0 outside 64-bit mode.
    2147483649: { eax: 0, ebx: 0, ecx: 1, edx: 0x2010_0000 },
    ...brandString("              Intel(R) Pentium(R) 4 CPU 3.80GHz"),
    2147483653: { eax: 0, ebx: 0, ecx: 0, edx: 0 },
    2147483654: { eax: 0, ebx: 0, ecx: 0x0800_6040, edx: 0 },
    2147483655: { eax: 0, ebx: 0, ecx: 0, edx: 0 },
    2147483656: { eax: 0x3024, ebx: 0, ecx: 0, edx: 0 },
  },
  physicalAddressBits: 36,
  linearAddressBits: 48,
  instructionTlb: {
    small: { entries: 64, ways: 64, replacement: "fifo" },
    source: "CPUID leaf 2 descriptor 50: 64 entries for 4 KB, 2 MB and 4 MB pages together; FIFO is ours",
  },
  dataTlb: {
    small: { entries: 64, ways: 64, replacement: "fifo" },
    source: "CPUID leaf 2 descriptor 5B: 64 entries, fully associative, for 4 KB and 4 MB pages together; FIFO is ours",
  },
  returnStackEntries: 16,
  indirectTargets: 2048,
  costs: {
    // plain instructions
    alu: derived(
      1 / 2,
      "two double-speed ALUs behind a trace cache of 3 micro-ops a cycle: half a cycle sustained; OPT throughput 0.5",
    ),
    load: derived(
      1 / 2,
      "one load port, 1 a cycle: MOV r,[m] = alu + load = 1; the latency of 4 (ILM-001) is taken to be hidden",
    ),
    store: derived(1 / 2, "AA06N-019: a PTE store that changes nothing costs 1 = alu + store; one store a cycle"),
    lea: derived(1, "OPT: latency 1 to 2.5 with a scaled index, throughput 0.5 to 1"),
    nop: derived(1 / 3, "only a trace-cache slot: 3 micro-ops a cycle"),
    aluCarry: derived(10, "OPT: ADC and SBB of registers, latency 10"),
    shift: derived(1, "OPT: latency 1 on one of the two ALUs"),
    shiftByCl: derived(2, "a shift and a flag merge, as a count of 0 leaves the flags: 2 micro-ops"),
    rotateCarry: derived(6, "OPT: RCL and RCR by 1, latency 6; by a count they take longer, which is not modelled"),
    doubleShift: derived(14, "OPT: SHLD and SHRD, latency 14"),
    multiply: derived(10, "OPT: IMUL r32, latency 10"),
    multiplyWide: derived(11, "OPT: MUL and IMUL r32 with the upper half, latency 11"),
    divide: derived(
      73,
      "OPT: DIV and IDIV r32, latency 66 to 80: the middle; AGNER-016 has 63 for DIV r64 in the throughput column",
    ),
    bitTest: derived(8, "OPT: BT and its kin, latency 8 to 9"),
    bitString: derived(10, "address arithmetic in microcode: like a carry chain"),
    bitScan: derived(16, "OPT: BSF and BSR, latency 16"),
    byteSwap: derived(1, "OPT: latency 1"),
    conditionalMove: derived(5, "OPT: SETcc latency 5, CMOVcc 9.5 with throughput 3: in between"),
    signExtend: derived(1 / 2, "OPT: throughput 0.5"),
    exchange: derived(1.5, "three register moves"),
    locked: derived(
      78.5,
      "ILX-007: XCHG r32,[m32] takes 81.7 in all; less exchange 1.5, load 0.5, store 0.5, to the next half",
    ),
    compareExchange8: derived(12, "as the locked form without the lock: a dozen micro-ops at one a cycle"),
    push: derived(1, "one store a cycle"),
    pop: derived(1, "one load a cycle"),
    pushAll: derived(10, "8 stores and the microcode's start"),
    popAll: derived(10, "7 loads and the microcode's start"),
    enter: derived(12, "push, move and subtract in microcode"),
    leave: derived(1.5, "a move and a POP"),
    xlat: derived(1.5, "address generation and a load"),
    decimal: derived(26, "microcode; OPT gives AAx no value; between a carry chain and a division"),
    bound: derived(12, "two loads and two compares in microcode"),
    flagBit: derived(10, "a flag merge, priced like aluCarry"),
    lahf: derived(1, "one micro-op; OPT: SAHF latency 1"),
    pause: publishedRounded(54.17, "ILX-006", "Prescott 2M (0F43); ILX-014 has 52 on the 65 nm core"),
    fence: derived(120, "no value published; half of CLFLUSH with its line (ILX-008, 240.75)"),
    // control flow
    jump: derived(1, "the trace cache follows a taken branch at no extra cost; one branch a cycle"),
    branch: derived(1, "predicted; conditional mispredictions are not modelled"),
    call: derived(5.5, "half of AA06N-010, CALL and RET together 11; AGNER-017 has 7 for CALL alone"),
    ret: derived(5.5, "half of AA06N-010; AGNER-018 has 7 for RETN alone"),
    jumpIndirect: derived(1, "predicted: as a direct jump"),
    mispredict: derived(31, "the depth of Prescott's pipeline from the trace cache to the branch check"),
    // strings
    stringStart: derived(
      40,
      "no value published: microcode entry and exit of a REP, a little over the depth of the pipeline",
    ),
    stringIteration: derived(2, "a load and a store at one micro-op a cycle"),
    // system, core-bound
    pushFlags: published(9, "AGNER-005", "ILX-004 has 8"),
    popFlags: published(
      70,
      "AGNER-006",
      "the pair with PUSHF is 79 here, ILX-005 measured 98.5 for it as a dependency chain",
    ),
    cli: published(
      60,
      "AA06T-016",
      "preferred to AGNER-003 (52) and AGNER-020 (35): the paper that the figures stand beside",
    ),
    sti: published(64, "AGNER-004"),
    segmentLoad: published(27, "AGNER-007"),
    segmentPop: published(30, "AGNER-008"),
    segmentStore: derived(1, "a register move through one port"),
    farJump: derived(158, "farCall (AGNER-009, 160) without its two pushes"),
    farCall: published(160, "AGNER-009"),
    farReturn: published(160, "AGNER-010"),
    farPrivilege: derived(
      39,
      "load of SS 27 (AGNER-007), two words from the TSS 8 (ILM-001), four more stack accesses 4",
    ),
    intSame: derived(431, "intInner (AGNER-001, 470) without farPrivilege (39): no stack switch"),
    intInner: published(470, "AGNER-001", "Willamette took 644 (AGNER-019)"),
    iretSame: derived(286, "iretOuter (AGNER-002, 325) without farPrivilege (39)"),
    iretOuter: published(325, "AGNER-002"),
    exception: derived(488, "AA06N-016, 889 = DIV 73 + exception + inc [m] 1.5 + add [esp] 1.5 + IRET 325"),
    pageFault: derived(
      710,
      "AA06N-013, 1093 = mov r,[m] 1 + walk of a table without the page 37 + pageFault + handler 20 + IRET 325; handler: MOV from CR2 12, two XOR 1, POP 1, four read-modify-writes 6",
    ),
    interrupt: derived(
      470,
      "the microcode of INT n without the instruction's own checks and with the vector's fetch: priced the same",
    ),
    sysenter: derived(
      120.25,
      "AA06N-001, 242 = SYSENTER + inc [m] 1.5 + SYSEXIT, halved; the paper's pair is SYSCALL and SYSRET",
    ),
    sysexit: derived(120.25, "the other half of AA06N-001"),
    hlt: derived(200, "no value published: drain, stop the clock and start it again, some pipeline depths"),
    cpuid: published(
      412,
      "ILX-002",
      "leaf 1, which the nanobenchmark reads; leaf 0 takes 340 (ILX-001), all leaves 300-500 (AGNER-012)",
    ),
    rdtsc: published(100, "AGNER-013", "ILX-003 agrees"),
    rdpmc: published(240, "AGNER-014"),
    rdmsr: derived(100, "as RDTSC, which reads an MSR"),
    wrmsr: derived(300, SERIALISING),
    readCr: derived(12, "microcode, not serialising"),
    writeCr0: derived(300, SERIALISING),
    writeCr3: derived(300, SERIALISING),
    writeCr4: derived(300, SERIALISING),
    clts: derived(60, "as CLI: one bit of a control register"),
    readDr: derived(12, "as readCr"),
    writeDr: derived(300, SERIALISING),
    descriptorTableLoad: derived(300, SERIALISING),
    descriptorTableStore: derived(8, "two stores and microcode"),
    lldt: derived(300, SERIALISING),
    ltr: derived(300, SERIALISING),
    lar: derived(27, "reads and checks a descriptor as a segment load does (AGNER-007)"),
    invlpg: derived(300, SERIALISING),
    cacheControl: derived(2000, "no value published, and caches are not modelled: a token for the write-back"),
    portCore: derived(
      40,
      "OPT: throughput of IN and OUT at the core; the rest of AA06N-004 (3209) is the bus, in the board file",
    ),
    taskSwitch: derived(
      1000,
      "no value published: saves and loads a register file and six segments, about twice intInner",
    ),
    // x87, memory operands included
    x87Add: derived(6, "PRESCOTT: latency 6"),
    x87Multiply: derived(8, "PRESCOTT: latency 8"),
    x87Divide: derived(45, "PRESCOTT: latency 45 at extended precision"),
    x87Compare: derived(3, "PRESCOTT: latency 3"),
    x87Load: derived(1, "PRESCOTT: throughput 1"),
    x87LoadInteger: derived(6, "PRESCOTT: throughput 6 for 16 bits, fewer for others: the upper bound"),
    x87LoadDecimal: derived(90, "PRESCOTT: about 90"),
    x87Store: derived(2, "PRESCOTT: throughput 2 to 3: a store and a conversion"),
    x87StoreInteger: derived(10, "PRESCOTT: latency 10"),
    x87StoreDecimal: derived(478, "PRESCOTT: about 478"),
    x87Exchange: derived(1, "PRESCOTT: throughput 1"),
    x87Sign: derived(3, "PRESCOTT: latency 3"),
    x87Constant: derived(2, "PRESCOTT: throughput 2 to 3"),
    x87ConditionalMove: derived(6, "PRESCOTT: latency 6"),
    x87SquareRoot: derived(45, "PRESCOTT: latency 45 at extended precision"),
    x87Round: derived(28, "PRESCOTT: about 28"),
    x87Scale: derived(93, "PRESCOTT: about 93"),
    x87Extract: derived(44, "PRESCOTT: about 44"),
    x87Remainder: derived(100, "PRESCOTT: about 100, by the operands"),
    x87Initialize: derived(160, "PRESCOTT: FNINIT about 160; FNCLEX takes less, which is not modelled"),
    x87LoadControl: derived(12, "PRESCOTT: throughput 12"),
    x87StoreControl: derived(4, "PRESCOTT: throughput 3 to 6"),
    x87StoreStatus: derived(10, "PRESCOTT: latency 10 to AX"),
    x87Wait: derived(4, "PRESCOTT: 1 to 5: the middle"),
    x87Environment: derived(100, "PRESCOTT: about 100"),
    x87State: derived(420, "PRESCOTT: FNSAVE and FRSTOR 300 to 550: the middle"),
    x87Sine: derived(190, "PRESCOTT: FSIN, FCOS 160 to 220 by the operand: the middle"),
    x87SineCosine: derived(200, "PRESCOTT: about 200"),
    x87Tangent: derived(230, "PRESCOTT: about 230"),
    x87Arctangent: derived(260, "PRESCOTT: about 260"),
    x87Exponential: derived(170, "PRESCOTT: about 170"),
    x87Logarithm: derived(200, "PRESCOTT: about 200"),
    // MMX and SSE
    simdMove: derived(1, "PRESCOTT: throughput 1"),
    simdStore: derived(1 / 2, "as alu: the store comes on top"),
    simdAlu: derived(2, "PRESCOTT: throughput 2 on XMM registers, 1 on MMX registers: the former"),
    simdQuadword: derived(2, "PRESCOTT: throughput 2 on XMM registers"),
    simdMultiply: derived(8, "PRESCOTT: latency 7 to 8"),
    simdSumDifferences: derived(4, "PRESCOTT: latency 4"),
    simdShift: derived(2, "PRESCOTT: throughput 2 on XMM registers"),
    simdShuffle: derived(2, "PRESCOTT: throughput 2 on XMM registers"),
    simdHorizontal: derived(8, "not on this processor; four shuffles would take as long"),
    simdToGeneral: derived(7, "PRESCOTT: latency 7"),
    simdFromGeneral: derived(5, "PRESCOTT: latency 5 to 6"),
    simdMaskedStore: derived(75, "PRESCOTT: about 75"),
    emms: derived(10, "PRESCOTT: throughput 10 to 12"),
    sseLogic: derived(2, "PRESCOTT: throughput 2"),
    sseShuffle: derived(4, "PRESCOTT: latency 4 to 6, throughput 2: in between"),
    sseAdd: derived(5, "PRESCOTT: latency 5"),
    sseMultiply: derived(7, "PRESCOTT: latency 7"),
    sseDivideSingle: derived(32, "PRESCOTT: latency 32"),
    sseDivideDouble: derived(40, "PRESCOTT: latency 40"),
    sseDividePackedSingle: derived(41, "PRESCOTT: latency 41"),
    sseDividePackedDouble: derived(71, "PRESCOTT: latency 71"),
    sseRootSingle: derived(32, "PRESCOTT: latency 32"),
    sseRootDouble: derived(40, "PRESCOTT: latency 40"),
    sseRootPackedSingle: derived(41, "PRESCOTT: latency 41"),
    sseRootPackedDouble: derived(71, "PRESCOTT: latency 71"),
    sseReciprocal: derived(6, "PRESCOTT: latency 6"),
    sseCompareFlags: derived(6, "PRESCOTT: latency 6"),
    sseConvert: derived(10, "PRESCOTT: latency 6 to 15 by the kind: the middle"),
    sseHorizontal: derived(13, "PRESCOTT: latency 13"),
    mxcsrLoad: derived(12, "PRESCOTT: throughput about 12 while masks do not change"),
    mxcsrStore: derived(4, "PRESCOTT: throughput 3 to 6"),
    fxsave: derived(170, "PRESCOTT: about 170"),
    fxrstor: derived(200, "PRESCOTT: about 200"),
    monitor: derived(100, "no value published: as RDTSC"),
    mwait: derived(200, "no value published: as HLT"),
    // memory system
    pageCross: derived(31, "Intel's optimization manual: stalls on the order of the depth of the pipeline"),
    tlbSecondLevel: derived(0, "there is no second level"),
    walkStart: derived(29, "ILM-004 less ILM-003: a DTLB miss costs 37 = walkStart + 2 references of 4"),
    walkReference: published(4, "ILM-001", "first-level hit"),
    walkUpdate: publishedRounded(81.7, "ILX-007", "a locked read-modify-write"),
    apicRead: derived(149, "as apicWrite: the same register block"),
    apicWrite: derived(149, "AA06N-007: writing the TPR as CR8 takes 150 = apicWrite + the store's own 1"),
    // VMX
    vmxon: derived(412, "no value published: priced like CPUID, serialising with checks"),
    vmptrld: derived(412, "no value published: priced like CPUID"),
    vmread: published(178, "AA06T-005"),
    vmwrite: published(171, "AA06T-007"),
    vmentry: published(2409, "AA06T-001"),
    vmexit: published(1931, "AA06T-003", "of a page fault; other exits are taken to cost the same"),
  },
  monitorCpi: calibrated(
    6.016,
    "AA06N-006",
    "fitted so that `in` under VT-x takes 15 826: the one software number of the VT-x monitor",
    "cycles/instruction",
  ),
  deprivilegedCpi: calibrated(
    1.023,
    "AA06T-014",
    "fitted so that the call-out of RDTSC under binary translation takes 1 254: the one software number of that monitor",
    "cycles/instruction",
  ),
  translation: published(2300, "AA06T-017", "of 64-bit code", "cycles/instruction"),
  vmx: pentium4Capabilities,
};
