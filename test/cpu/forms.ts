/** Runs instruction forms (experiments/instruction-forms.ts) on the interpreter over a fixture's processor. */
import { type InstructionForm, instructionForms } from "../../experiments/instruction-forms.ts";
import { Clock } from "../../sim/clock.ts";
import { InstructionDecoder } from "../../sim/cpu/decode.ts";
import { ACCESS, type VmxInstructions } from "../../sim/cpu/environment.ts";
import { execute } from "../../sim/cpu/interpreter.ts";
import { type Lifted, lift } from "../../sim/cpu/lift/lift.ts";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import { costTicks } from "../../sim/cpu/profiles/profile.ts";
import { CELL, CR0, CR4, GPR, MXCSR, MXCSR_INITIAL, RIGHTS, raisePageFault, SEG } from "../../sim/cpu/state.ts";
import { Ledger, TIME_AREA_CELLS } from "../../sim/ledger.ts";
import { FakeEnvironment, Fixture, SELECTOR } from "./system/fake-environment.ts";

const profile = profileNamed("core2-e6700");
const decoder = new InstructionDecoder(profile);
const ledger = new Ledger(new Clock(new Float64Array(TIME_AREA_CELLS), 1000));

export interface ModelledForm extends InstructionForm {
  /** Size of the code segment, and of the stack. */
  readonly bits: 16 | 32;
  readonly name: string;
  readonly lifted: Lifted;
}

export const allForms = instructionForms(profile.features);

export const allForms16 = instructionForms(profile.features, 16);

function lifted(forms: readonly InstructionForm[], bits: 16 | 32): ModelledForm[] {
  return forms.flatMap((form) => {
    if (decoder.decode(form.bytes, bits) !== "decoded") return [];
    const done = lift(decoder.instruction, { bits, stackBits: bits }, costTicks(profile));
    const name = form.code + (form.memory ? " (memory)" : "") + (bits === 16 ? " in 16-bit code" : "");
    return done === null ? [] : [{ ...form, bits, name, lifted: done }];
  });
}

/** Every modelled form, lifted for a 32-bit code segment; and for a 16-bit one with a stack to match. */
export const modelledForms: readonly ModelledForm[] = lifted(allForms, 32);
export const modelledForms16: readonly ModelledForm[] = lifted(allForms16, 16);

/** VMX hardware in operation that accepts everything. */
export const willingVmx: VmxInstructions = {
  vmxon: () => undefined,
  vmclear: () => undefined,
  vmptrld: () => undefined,
  vmptrst: () => 0x1000,
  vmxoff: () => undefined,
  vmread: () => 7,
  vmwrite: () => undefined,
  vmenter: () => false,
  vmcall: () => undefined,
  inOperation: true,
  permits: () => true,
};

/** Memory that page-faults the `faultAt`-th access that no earlier access of the instruction has covered. */
export class FaultingEnvironment extends FakeEnvironment {
  /** 1 for the first; 0 for none. */
  faultAt = 0;
  /** Whether a probe vouches for its whole page; not wanted where several iterations each probe their own bytes. */
  probesCoverPages = true;
  /** Accesses so far that could have faulted. */
  accesses = 0;
  /** Accesses that could fault although something had been stored already. */
  readonly late: string[] = [];
  readonly #covered = new Map<number, number>();
  #stored = false;

  #faults(linear: number, bytes: number, access: number): boolean {
    const needs = (access & ACCESS.WRITE) !== 0 ? 3 : 1;
    let covered = true;
    for (let at = linear; at < linear + bytes; at++) {
      const had = this.#covered.get(at) ?? 0;
      if ((had & needs) !== needs) covered = false;
      this.#covered.set(at, had | needs);
    }
    if (covered) return false;
    if (this.#stored) this.late.push(`${linear.toString(16)}/${bytes}`);
    if (++this.accesses !== this.faultAt) return false;
    raisePageFault(this.state, linear, access & (ACCESS.WRITE | ACCESS.USER));
    return true;
  }

  override load(linear: number, bytes: number, access: number): number {
    return this.#faults(linear, bytes, access) ? 0 : super.load(linear, bytes, access);
  }

  override store(linear: number, bytes: number, value: number, access: number): void {
    if (this.#faults(linear, bytes, access | ACCESS.WRITE)) return;
    // Accessed and busy bits of descriptors are hints that a later fault may leave behind.
    if ((access & ACCESS.DESCRIPTOR) === 0) this.#stored = true;
    super.store(linear, bytes, value, access);
  }

  override load64(linear: number, access: number, cell: number): void {
    if (!this.#faults(linear, 8, access)) super.load64(linear, access, cell);
  }

  override store64(linear: number, access: number, cell: number): void {
    if (this.#faults(linear, 8, access | ACCESS.WRITE)) return;
    this.#stored = true;
    super.store64(linear, access, cell);
  }

  override probe(linear: number, bytes: number, access: number): void {
    if (this.#faults(linear, bytes, access)) return;
    super.probe(linear, bytes, access);
    if (!this.probesCoverPages) return;
    // What a probe has found holds for the rest of the page.
    const needs = (access & ACCESS.WRITE) !== 0 ? 3 : 1;
    for (let at = linear & ~0xfff; at < ((linear + bytes + 0xfff) & ~0xfff); at++) {
      this.#covered.set(at, (this.#covered.get(at) ?? 0) | needs);
    }
  }
}

/** Selector, as it must be for the instruction to succeed, in registers, in memory and on the stack. */
const SELECTORS: Readonly<Record<string, number>> = {
  Lldt: SELECTOR.ldt,
  Ltr: SELECTOR.otherTss,
  Jmp: SELECTOR.code[0] as number,
  Call: SELECTOR.code[0] as number,
};
const OPERAND = 0xa140;

export interface FormRun {
  readonly fixture: Fixture;
  readonly env: FaultingEnvironment;
  /** Differences from before the run, temporaries and descriptors' accessed bits left out. */
  changes(): string[];
}

/** A processor at `cpl` on which the form is likely to succeed, and its environment. */
export function prepare(form: ModelledForm, cpl: number, flags = 0): FormRun {
  const fixture = new Fixture(cpl);
  const { state } = fixture;
  const env = new FaultingEnvironment(state);
  const code = SELECTOR.code[cpl] as number;
  const selector = SELECTORS[form.mnemonic] ?? (SELECTOR.data[cpl] as number);
  state.set(GPR.eax, 0x1234);
  state.set(GPR.ecx, form.mnemonic.endsWith("msr") ? 0x174 : form.mnemonic === "Rdpmc" ? 0 : selector);
  state.set(GPR.edx, form.code.startsWith("Mov_cr") ? CR0.PE | CR0.NE | CR0.ET : 0x10001 * selector);
  state.set(GPR.ebx, 0xa000);
  state.set(GPR.ebp, state.get(GPR.esp) + 0x40);
  state.set(GPR.esi, 0xb000);
  state.set(GPR.edi, 0xc000);
  state.flags |= flags;
  state.set(CELL.cr4, CR4.OSFXSR | CR4.OSXMMEXCPT);
  state.set(MXCSR, MXCSR_INITIAL);
  state.set(CELL.sysenterCs, SELECTOR.code[0] as number);
  state.set(CELL.sysenterEip, 0x5000);
  if (form.bits === 16) smallSegments(fixture);
  const bytes = /^(Iret|Retf)w/.test(form.code) ? 2 : 4;
  if (/^(Iret|Retf)/.test(form.mnemonic)) fixture.stack(bytes, 0x100, code, 2 | flags);
  else fixture.stack(2, ...Array(16).fill(selector));
  for (let at = OPERAND; at < OPERAND + 16; at += 2) fixture.env.poke(at, 2, selector);
  env.memory.set(fixture.env.memory);
  env.vmx = willingVmx;
  const before = fixture.snapshot();
  return {
    fixture,
    env,
    changes() {
      fixture.env.memory.set(env.memory);
      return fixture.changes(before);
    },
  };
}

/** CS and SS without the D and B flags. */
function smallSegments({ state }: Fixture): void {
  for (const segment of [SEG.cs, SEG.ss]) {
    const [selector, base, limit] = [state.selector(segment), state.segmentBase(segment), state.segmentLimit(segment)];
    state.setSegment(segment, selector, base, limit, state.segmentRights(segment) & ~RIGHTS.DB);
  }
}

/** Executes the form; what it signals is in the state. */
export function run(form: ModelledForm, { fixture, env }: FormRun): void {
  execute(form.lifted.ops, 0, null, fixture.state, env, ledger);
}

/** Flags word with an I/O privilege level. */
export const iopl = (level: number): number => level << 12;
