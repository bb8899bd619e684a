// Firmware for tests, assembled by hand: 64 KB that end at 1 MB and at 4 GB, with a jump from the reset vector to its
// first instruction. Offsets are those of segment F000.

type Value = number | string;
interface Fixup {
  readonly at: number;
  readonly label: string;
  readonly kind: "relative" | "offset" | "linear";
}

export class RealProgram {
  readonly #bytes: number[] = [];
  readonly #labels = new Map<string, number>();
  readonly #fixups: Fixup[] = [];

  /** Any bytes. */
  code(...bytes: number[]): this {
    this.#bytes.push(...bytes);
    return this;
  }

  label(name: string): this {
    this.#labels.set(name, this.#bytes.length);
    return this;
  }

  /** A 16-bit word: a number, or a label's offset in segment F000. */
  word(value: Value): this {
    if (typeof value === "number") return this.code(value & 0xff, (value >>> 8) & 0xff);
    this.#fixups.push({ at: this.#bytes.length, label: value, kind: "offset" });
    return this.code(0, 0);
  }

  /** A 32-bit word: a number, or a label's linear address below 1 MB. */
  dword(value: Value): this {
    if (typeof value === "number") return this.word(value & 0xffff).word(value >>> 16);
    this.#fixups.push({ at: this.#bytes.length, label: value, kind: "linear" });
    return this.code(0, 0, 0, 0);
  }

  /** An opcode with a 16-bit displacement to a label. */
  near(opcode: readonly number[], label: string): this {
    this.code(...opcode);
    this.#fixups.push({ at: this.#bytes.length, label, kind: "relative" });
    return this.code(0, 0);
  }

  /** MOV AL, `value`; OUT `port`, AL. */
  out(port: number, value: number): this {
    return this.code(0xb0, value, 0xe6, port);
  }

  /** MOV WORD [`address`], `value` in 16-bit code. */
  store(address: number, value: Value): this {
    return this.code(0xc7, 0x06).word(address).word(value);
  }

  /** Offset in segment F000. */
  offset(label: string): number {
    const offset = this.#labels.get(label);
    if (offset === undefined) throw new Error(`no label ${label}`);
    return offset;
  }

  firmware(): Uint8Array {
    const image = new Uint8Array(0x10000);
    image.set(this.#bytes);
    const view = new DataView(image.buffer);
    for (const { at, label, kind } of this.#fixups) {
      const offset = this.offset(label);
      if (kind === "linear") view.setUint32(at, 0xf0000 + offset, true);
      else view.setUint16(at, kind === "relative" ? offset - at - 2 : offset, true);
    }
    image.set([0xe9, 0x0d, 0x00], 0xfff0);
    return image;
  }
}

/** Where the guest below keeps what it counts, all below 64 KB. */
export const COUNT = { ticks: 0x500, rounds: 0x502, interrupts: 0x504, sum: 0x508 } as const;
/** What it writes through a segment of 4 GB in real mode. */
export const FAR_WORD = 0x200000;
export const ROUNDS = 3;

/**
 * A guest that goes through all modes: real mode with INT and timer interrupts and HLT, protected mode with stale
 * segments, 32-bit code, paging, 16-bit protected mode, real mode with a segment of 4 GB; three rounds.
 */
export function tour(): RealProgram {
  const p = new RealProgram();
  p.code(0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc).word(0x7000); // XOR AX, AX; MOV DS, AX; MOV SS, AX; MOV SP, 7000h
  for (const count of Object.values(COUNT)) p.store(count, 0);
  p.store(COUNT.sum + 2, 0);
  p.store(8 * 4, "tick").store(8 * 4 + 2, 0xf000);
  p.store(0x30 * 4, "int").store(0x30 * 4 + 2, 0xf000);
  // The local APIC off, so that the 8259's line is the processor's: MOV ECX, 1Bh; RDMSR; AND AH, F7h; WRMSR.
  p.code(0x66, 0xb9).dword(0x1b).code(0x0f, 0x32, 0x80, 0xe4, 0xf7, 0x0f, 0x30);
  p.out(0x20, 0x11).out(0x21, 0x08).out(0x21, 4).out(0x21, 1).out(0x21, 0xfe);
  p.out(0x43, 0x34).out(0x40, 0x00).out(0x40, 0x04); // 1 024 clocks of 838 ns

  p.label("round");
  p.code(0xfb, 0xcd, 0x30); // STI; INT 30h
  p.code(0xa1).word(COUNT.ticks).code(0x40, 0x40, 0x89, 0xc3); // MOV AX, [ticks]; INC AX; INC AX; MOV BX, AX
  p.label("wait").code(0xf4, 0x39, 0x1e).word(COUNT.ticks); // HLT; CMP [ticks], BX
  p.near([0x0f, 0x82], "wait"); // JB wait
  // A string instruction that the timer interrupts: 512 words are summed 8 times.
  p.code(0xb9).word(8); // MOV CX, 8
  p.label("again").code(0x51, 0x31, 0xf6, 0xb9).word(512); // PUSH CX; XOR SI, SI; MOV CX, 512
  p.code(0xbf).word(0x2000).code(0x8e, 0xc6, 0xfc, 0xf3, 0xa5); // MOV DI, 2000h; MOV ES, SI; CLD; REP MOVSW
  p.code(0x59, 0xe2, 0xef); // POP CX; LOOP again

  p.code(0xfa, 0x2e, 0x66, 0x0f, 0x01, 0x16).word("gdtr"); // CLI; LGDT CS:[gdtr], 32 bits
  p.code(0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0); // MOV EAX, CR0; OR AL, 1; MOV CR0, EAX
  // Protected mode, every segment register as real mode left it.
  p.code(0xff, 0x06).word(COUNT.rounds); // INC WORD [rounds]
  p.code(0x66, 0xea).dword("protected").word(0x08); // JMP FAR 0008:protected

  p.label("protected"); // 32-bit code
  p.code(0x66, 0xb8).word(0x10).code(0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8e, 0xe8); // MOV AX, 10h; DS, ES, SS, GS
  // Paging with a page of 4 MB.
  p.code(0xc7, 0x05).dword(0x10000).dword(0x83); // MOV DWORD [10000h], 83h
  p.code(0x0f, 0x20, 0xe0, 0x0c, 0x10, 0x0f, 0x22, 0xe0); // MOV EAX, CR4; OR AL, 10h; MOV CR4, EAX
  p.code(0xb8).dword(0x10000).code(0x0f, 0x22, 0xd8); // MOV EAX, 10000h; MOV CR3, EAX
  p.code(0x0f, 0x20, 0xc0, 0x0d).dword(0x80000000).code(0x0f, 0x22, 0xc0); // MOV EAX, CR0; OR EAX, PG; MOV CR0, EAX
  p.code(0xb9).dword(1000); // MOV ECX, 1000
  p.label("add").code(0x01, 0x0d).dword(COUNT.sum).code(0xe2, 0xf8); // ADD [sum], ECX; LOOP add
  p.code(0x31, 0xc0, 0x0f, 0xa2); // XOR EAX, EAX; CPUID
  p.code(0x01, 0x1d).dword(COUNT.sum); // ADD [sum], EBX
  p.code(0x0f, 0x20, 0xc0, 0x25).dword(0x7fffffff).code(0x0f, 0x22, 0xc0); // MOV EAX, CR0; AND EAX, ~PG; MOV CR0, EAX
  p.code(0xea).word("sixteen").word(0).word(0x18); // JMP FAR 0018:sixteen

  p.label("sixteen"); // 16-bit protected mode
  p.code(0xb8).word(0x20).code(0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8e, 0xe8); // MOV AX, 20h; DS, ES, SS, GS
  p.code(0xb8).word(0x10).code(0x8e, 0xe0); // MOV AX, 10h; MOV FS, AX: 4 GB
  p.code(0x83, 0x06).word(COUNT.sum).code(0x07); // ADD WORD [sum], 7
  p.code(0x0f, 0x20, 0xc0, 0x24, 0xfe, 0x0f, 0x22, 0xc0); // MOV EAX, CR0; AND AL, FEh; MOV CR0, EAX
  p.code(0x8c, 0xcb); // MOV BX, CS: still 18h
  p.code(0xea).word("real").word(0xf000); // JMP FAR F000:real

  p.label("real").code(0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0x8e, 0xc0); // XOR AX, AX; DS, SS, ES
  p.code(0x66, 0xbe).dword(FAR_WORD); // MOV ESI, 200000h
  p.code(0x64, 0x67, 0x66, 0x89, 0x1e); // MOV FS:[ESI], EBX
  p.code(0xfb, 0x83, 0x3e).word(COUNT.rounds).code(ROUNDS); // STI; CMP WORD [rounds], 3
  p.near([0x0f, 0x82], "round"); // JB round
  p.code(0xfa).out(0xf4, 0).code(0xeb, 0xfe); // CLI; exit; JMP $

  p.label("tick").code(0x50, 0xff, 0x06).word(COUNT.ticks).out(0x20, 0x20).code(0x58, 0xcf); // PUSH AX; ...; POP AX; IRET
  p.label("int").code(0xff, 0x06).word(COUNT.interrupts).code(0xcf); // INC WORD [interrupts]; IRET

  p.label("gdt").dword(0).dword(0);
  p.dword(0x0000ffff).dword(0x00cf9a00); // 08h: code, 32 bits, 4 GB
  p.dword(0x0000ffff).dword(0x00cf9200); // 10h: data, 4 GB
  p.dword(0x0000ffff).dword(0x00009a0f); // 18h: code, 16 bits, base F0000h
  p.dword(0x0000ffff).dword(0x00009200); // 20h: data, 64 KB
  p.label("gdtr").word(39).dword("gdt");
  return p;
}
