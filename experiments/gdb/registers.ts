/**
 * The guest's registers as GDB numbers and names them, and the description that tells it so (GDB manual, appendix G:
 * org.gnu.gdb.i386.core and .sse; the system registers are a feature of our own).
 *
 * EIP is given as the linear address of the next instruction, so that GDB finds code, breakpoints and symbols in every
 * mode; where CS has base 0 it is EIP. `monitor regs` shows CS:EIP. General registers, EIP and EFLAGS can be written.
 */
import { CELL, type CpuState, GPR, MXCSR, SEG, X87, x87RegisterCell, xmmCell } from "../../sim/cpu/state.ts";
import { status, tagWord } from "../../sim/cpu/x87/stack.ts";
import { codeBits, linearEip } from "../inspect.ts";

interface Register {
  readonly name: string;
  readonly bits: 32 | 80 | 128;
  /** GDB's type. */
  readonly type: string;
  /** Its value: 32 bits, or of more bits words of 32, low first. */
  readonly read: (state: CpuState) => number | readonly number[];
  /** The cell to write, and what to write there; absent when it cannot be written. */
  readonly write?: (state: CpuState, value: number) => readonly [cell: number, value: number];
  readonly group?: string;
}

const ofCell = (name: string, cell: number, type = "int32"): Register => ({
  ...{ name, bits: 32, type },
  read: (state) => state.get(cell),
  write: (_, value) => [cell, value],
});
const readOnly = (name: string, read: (state: CpuState) => number, group: string): Register => ({
  ...{ name, bits: 32, type: "int32", group },
  read,
});
const selector = (name: string, segment: number): Register => ({
  ...{ name, bits: 32, type: "int32" },
  read: (state) => state.selector(segment),
});

/** Register ST(n): significand, then sign and exponent. */
function stackRegister(n: number): Register {
  return {
    ...{ name: `st${n}`, bits: 80, type: "i387_ext" },
    read: (state) => {
      const cell = x87RegisterCell(((status(state) >>> 11) + n) & 7);
      return [state.get(cell), state.get(cell + 1), state.get(cell + 2) & 0xffff];
    },
  };
}

const CORE: readonly Register[] = [
  ofCell("eax", GPR.eax),
  ofCell("ecx", GPR.ecx),
  ofCell("edx", GPR.edx),
  ofCell("ebx", GPR.ebx),
  ofCell("esp", GPR.esp, "data_ptr"),
  ofCell("ebp", GPR.ebp, "data_ptr"),
  ofCell("esi", GPR.esi),
  ofCell("edi", GPR.edi),
  {
    ...{ name: "eip", bits: 32, type: "code_ptr" },
    read: linearEip,
    write: (state, value) => [CELL.rip, (value - state.segmentBase(SEG.cs)) >>> 0],
  },
  ofCell("eflags", CELL.rflags, "i386_eflags"),
  selector("cs", SEG.cs),
  selector("ss", SEG.ss),
  selector("ds", SEG.ds),
  selector("es", SEG.es),
  selector("fs", SEG.fs),
  selector("gs", SEG.gs),
  ...[0, 1, 2, 3, 4, 5, 6, 7].map(stackRegister),
  readOnly("fctrl", (state) => state.get(X87.control) & 0xffff, "float"),
  readOnly("fstat", (state) => status(state) & 0xffff, "float"),
  readOnly("ftag", tagWord, "float"),
  readOnly("fiseg", (state) => state.get(X87.instructionSelector) & 0xffff, "float"),
  readOnly("fioff", (state) => state.get(X87.instructionOffset), "float"),
  readOnly("foseg", (state) => state.get(X87.dataSelector) & 0xffff, "float"),
  readOnly("fooff", (state) => state.get(X87.dataOffset), "float"),
  readOnly("fop", (state) => state.get(X87.opcode) & 0x7ff, "float"),
];

const SSE: readonly Register[] = [
  ...[0, 1, 2, 3, 4, 5, 6, 7].map(
    (n): Register => ({
      ...{ name: `xmm${n}`, bits: 128, type: "vec128" },
      read: (state) => [0, 1, 2, 3].map((word) => state.get(xmmCell(n) + word)),
    }),
  ),
  readOnly("mxcsr", (state) => state.get(MXCSR), "vector"),
];

const SYSTEM: readonly Register[] = [
  ...(["cr0", "cr2", "cr3", "cr4", "dr0", "dr1", "dr2", "dr3", "dr6", "dr7", "efer"] as const).map((name) =>
    readOnly(name, (state) => state.get(CELL[name]), "system"),
  ),
  ...(["cs", "ss", "ds", "es", "fs", "gs", "tr"] as const).map((name) =>
    readOnly(`${name}_base`, (state) => state.segmentBase(SEG[name]) >>> 0, "system"),
  ),
  readOnly("gdtr_base", (state) => state.get(CELL.gdtrBase), "system"),
  readOnly("gdtr_limit", (state) => state.get(CELL.gdtrLimit), "system"),
  readOnly("idtr_base", (state) => state.get(CELL.idtrBase), "system"),
  readOnly("idtr_limit", (state) => state.get(CELL.idtrLimit), "system"),
  readOnly("cpl", (state) => state.cpl, "system"),
];

const REGISTERS: readonly Register[] = [...CORE, ...SSE, ...SYSTEM];

/** All registers, as `g` gives them: little-endian, in hexadecimal. */
export function allRegisters(state: CpuState): string {
  return REGISTERS.map((register) => registerHex(register, state)).join("");
}

/** Register `n`; null when there is none. */
export function oneRegister(state: CpuState, n: number): string | null {
  const register = REGISTERS[n];
  return register === undefined ? null : registerHex(register, state);
}

/** What a new value of register `n` means for the processor's cells; null when it cannot be written. */
export function registerWrite(
  state: CpuState,
  n: number,
  value: number,
): readonly [cell: number, value: number] | null {
  return REGISTERS[n]?.write?.(state, value >>> 0) ?? null;
}

/** The registers that `G` may change: the first so many, 32 bits each. */
export const WRITABLE_REGISTERS = CORE.findIndex((register) => register.write === undefined);

function registerHex({ bits, read }: Register, state: CpuState): string {
  const value = read(state);
  const words = typeof value === "number" ? [value] : value;
  return words
    .map((word) => littleEndian(word))
    .join("")
    .slice(0, bits / 4);
}

function littleEndian(word: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(word >>> 0);
  return bytes.toString("hex");
}

/** How 128 bits may be looked at: GDB's types, and the names of the union's fields. */
const VECTORS = [
  ["v4f", "ieee_single", 4, "v4_float"],
  ["v2d", "ieee_double", 2, "v2_double"],
  ["v16i8", "int8", 16, "v16_int8"],
  ["v8i16", "int16", 8, "v8_int16"],
  ["v4i32", "int32", 4, "v4_int32"],
  ["v2i64", "int64", 2, "v2_int64"],
] as const;

/**
 * target.xml. GDB disassembles by the architecture that it finds here when it connects: 16-bit code (i8086) for a guest
 * in real or virtual-8086 mode or a 16-bit segment.
 */
export function targetDescription(state: CpuState): string {
  const line = ({ name, bits, type, group }: Register) =>
    `<reg name="${name}" bitsize="${bits}" type="${type}"${group === undefined ? "" : ` group="${group}"`}/>`;
  const flags = [
    ...["CF:0", "PF:2", "AF:4", "ZF:6", "SF:7", "TF:8", "IF:9", "DF:10", "OF:11", "NT:14", "RF:16", "VM:17", "AC:18"],
    ...["VIF:19", "VIP:20", "ID:21"],
  ].map((flag) => {
    const [name, bit] = flag.split(":") as [string, string];
    return `<field name="${name}" start="${bit}" end="${bit}"/>`;
  });
  return [
    '<?xml version="1.0"?>',
    '<!DOCTYPE target SYSTEM "gdb-target.dtd">',
    `<target><architecture>${codeBits(state) === 16 ? "i8086" : "i386"}</architecture>`,
    '<feature name="org.gnu.gdb.i386.core">',
    `<flags id="i386_eflags" size="4">${flags.join("")}</flags>`,
    ...CORE.map(line),
    "</feature>",
    '<feature name="org.gnu.gdb.i386.sse">',
    ...VECTORS.map(([id, type, count]) => `<vector id="${id}" type="${type}" count="${count}"/>`),
    `<union id="vec128">${VECTORS.map(([id, , , field]) => `<field name="${field}" type="${id}"/>`).join("")}</union>`,
    ...SSE.map(line),
    "</feature>",
    '<feature name="org.ringlab.i386.system">',
    ...SYSTEM.map(line),
    "</feature></target>",
  ].join("\n");
}
