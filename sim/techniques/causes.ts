/** Technique-neutral causes of exits by the instruction that a monitor emulates: the same names under every technique. */
import { Code, type Instruction, Mnemonic, Register } from "iced-x86";

const BY_MNEMONIC: Readonly<Partial<Record<Mnemonic, string>>> = {
  [Mnemonic.In]: "port-io",
  [Mnemonic.Out]: "port-io",
  [Mnemonic.Insb]: "port-io-string",
  [Mnemonic.Insw]: "port-io-string",
  [Mnemonic.Insd]: "port-io-string",
  [Mnemonic.Outsb]: "port-io-string",
  [Mnemonic.Outsw]: "port-io-string",
  [Mnemonic.Outsd]: "port-io-string",
  [Mnemonic.Cpuid]: "cpuid",
  [Mnemonic.Hlt]: "hlt",
  [Mnemonic.Invd]: "invd",
  [Mnemonic.Wbinvd]: "wbinvd",
  [Mnemonic.Invlpg]: "invlpg",
  [Mnemonic.Rdmsr]: "rdmsr",
  [Mnemonic.Wrmsr]: "wrmsr",
  [Mnemonic.Rdtsc]: "rdtsc",
  [Mnemonic.Rdpmc]: "rdpmc",
  [Mnemonic.Clts]: "clts",
  [Mnemonic.Lmsw]: "lmsw",
  [Mnemonic.Smsw]: "smsw",
  [Mnemonic.Cli]: "cli",
  [Mnemonic.Sti]: "sti",
  [Mnemonic.Pushf]: "pushf",
  [Mnemonic.Pushfd]: "pushf",
  [Mnemonic.Popf]: "popf",
  [Mnemonic.Popfd]: "popf",
  [Mnemonic.Iret]: "iret",
  [Mnemonic.Iretd]: "iret",
  [Mnemonic.Int]: "software-interrupt",
  [Mnemonic.Int3]: "software-interrupt",
  [Mnemonic.Into]: "software-interrupt",
  [Mnemonic.Int1]: "software-interrupt",
  [Mnemonic.Sysenter]: "sysenter",
  [Mnemonic.Sysexit]: "sysexit",
  [Mnemonic.Lgdt]: "descriptor-table",
  [Mnemonic.Lidt]: "descriptor-table",
  [Mnemonic.Lldt]: "descriptor-table",
  [Mnemonic.Ltr]: "descriptor-table",
  [Mnemonic.Sgdt]: "descriptor-table",
  [Mnemonic.Sidt]: "descriptor-table",
  [Mnemonic.Sldt]: "descriptor-table",
  [Mnemonic.Str]: "descriptor-table",
  [Mnemonic.Lar]: "descriptor-information",
  [Mnemonic.Lsl]: "descriptor-information",
  [Mnemonic.Verr]: "descriptor-information",
  [Mnemonic.Verw]: "descriptor-information",
  [Mnemonic.Retf]: "far-transfer",
  [Mnemonic.Lds]: "segment-load",
  [Mnemonic.Les]: "segment-load",
  [Mnemonic.Lfs]: "segment-load",
  [Mnemonic.Lgs]: "segment-load",
  [Mnemonic.Lss]: "segment-load",
};

/** Registers by their numbers in iced-x86, which are consecutive. */
const within = (register: number, first: number, last: number): boolean => register >= first && register <= last;
const isSegment = (register: number): boolean => within(register, Register.ES, Register.GS);

/** The cause; null for an instruction that is emulated only because of where it reaches. */
export function causeOf(instruction: Instruction): string | null {
  const { mnemonic } = instruction;
  const target = instruction.op0Register;
  const source = instruction.op1Register;
  if (mnemonic === Mnemonic.Mov) {
    if (within(target, Register.CR0, Register.CR15)) return `write-cr${target - Register.CR0}`;
    if (within(source, Register.CR0, Register.CR15)) return `read-cr${source - Register.CR0}`;
    if (within(target, Register.DR0, Register.DR15)) return "write-dr";
    if (within(source, Register.DR0, Register.DR15)) return "read-dr";
    if (isSegment(target)) return "segment-load";
    return isSegment(source) ? "segment-store" : null;
  }
  if (mnemonic === Mnemonic.Pop && isSegment(target)) return "segment-load";
  if (mnemonic === Mnemonic.Push && isSegment(target)) return "segment-store";
  if (isFar(instruction)) return "far-transfer";
  return BY_MNEMONIC[mnemonic] ?? null;
}

const FAR: readonly Code[] = [
  ...[Code.Jmp_ptr1616, Code.Jmp_ptr1632, Code.Jmp_m1616, Code.Jmp_m1632],
  ...[Code.Call_ptr1616, Code.Call_ptr1632, Code.Call_m1616, Code.Call_m1632],
];

function isFar(instruction: Instruction): boolean {
  return FAR.includes(instruction.code);
}
