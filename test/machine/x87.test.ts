// The x87 of a guest, natively and under VT-x, where its registers stay in the processor across exits, and where an
// instruction that writes a traced page table is emulated.
import { expect, test } from "vitest";
import { CpuState, X87_CELLS } from "../../sim/cpu/state.ts";
import { boot, CODE_BASE, differences, guestRam, guestWord, LIMIT, type Rig, type Setup } from "./rig.ts";

const DATA = CODE_BASE + 0x1000;
const RESULT = DATA + 0x100;
const ENVIRONMENT = DATA + 0x200;
const DIRECTORY = 0x200000;
const TABLE = 0x201000;
const ALIASED = 0x300000;

const word = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

/** Builds page tables, turns paging on, writes two page-table entries by FISTP, and computes 1 + pi around exits. */
const CODE = [
  ...[0xbf, ...word(TABLE), 0xb8, ...word(7), 0xb9, ...word(1024)],
  // stosd; add eax, 1000h; loop
  ...[0xab, 0x05, ...word(0x1000), 0xe2, 0xf8],
  ...[0xc7, 0x05, ...word(DIRECTORY), ...word(TABLE | 7), 0xb8, ...word(DIRECTORY), 0x0f, 0x22, 0xd8],
  // mov eax, cr0; bts eax, 31; mov cr0, eax
  ...[0x0f, 0x20, 0xc0, 0x0f, 0xba, 0xe8, 31, 0x0f, 0x22, 0xc0],
  // The aliased page is read where it is mapped first, so that its entry is in use.
  ...[0xdb, 0xe3, 0xd9, 0xe8, 0xa1, ...word(ALIASED)],
  // fild qword [data]; fistp qword [entry of the aliased page]; invlpg; mov ebx, [aliased]
  ...[0xdf, 0x2d, ...word(DATA), 0xdf, 0x3d, ...word(TABLE + (ALIASED >>> 12) * 4)],
  ...[0x0f, 0x01, 0x3d, ...word(ALIASED), 0x8b, 0x1d, ...word(ALIASED)],
  // fldpi; cpuid; faddp; cpuid; fld st(0); fstp tbyte [result]; fnstenv [environment]; hlt
  ...[0xd9, 0xeb, 0x0f, 0xa2, 0xde, 0xc1, 0x0f, 0xa2, 0xd9, 0xc0, 0xdb, 0x3d, ...word(RESULT)],
  ...[0xd9, 0x35, ...word(ENVIRONMENT), 0xf4],
];
/** Entries that make the aliased page and the next one show the data page. */
const ENTRIES = [...word(DATA | 7), ...word(DATA | 7)];
const image = Uint8Array.from([...CODE, ...new Array<number>(0x1000 - CODE.length).fill(0), ...ENTRIES]);

function x87Cells({ machine }: Rig): number[] {
  const state = new CpuState();
  state.restore(machine.technique.exportCpu().cpu);
  return Array.from(state.i32.slice(X87_CELLS.first, X87_CELLS.end));
}

function ran(technique: Setup["technique"]): Rig {
  const rig = boot({ technique, code: image });
  expect(rig.machine.run(LIMIT).kind).toBe("dead-halt");
  return rig;
}

test("computes the same natively and under VT-x, and writes page tables there too", () => {
  const native = ran("native");
  const vtx = ran("vtx");
  // 1 + pi to 64 bits: 4.14159...
  expect([0, 4, 8].map((at) => guestWord(native.machine, RESULT + at))).toEqual([0x10b4611a | 0, 0x8487ed51, 0x4001]);
  expect(x87Cells(vtx)).toEqual(x87Cells(native));
  const [a, b] = [guestRam(native.machine), guestRam(vtx.machine)];
  expect(differences(a, b).filter((at) => (((a[at / 4] as number) ^ (b[at / 4] as number)) & ~0x60) !== 0)).toEqual([]);
});
