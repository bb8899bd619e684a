// Deliveries and IRETs of compiled code, in one piece where all is as usual, against the system helpers that the
// interpreter runs: tables as a kernel makes them, in which one bit after the other is changed between two runs.
import { expect, test } from "vitest";
import { Lockstep } from "../../experiments/verify/lockstep.ts";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import { EAGER_POLICY } from "../../sim/cpu/engine/policy.ts";
import { CELL, type CpuState, FLAG, GPR, RIGHTS, SEG } from "../../sim/cpu/state.ts";
import type { Machine } from "../../sim/machine.ts";
import { alone } from "./lockstep.ts";
import { boot, CODE_BASE } from "./rig.ts";

const AT = { gdt: 0x180000, idt: 0x181000, tss: 0x182000, kernelStack: 0x190000, userStack: 0x1a0000 } as const;
const SELECTOR = { kernelCode: 8, kernelData: 16, userCode: 24, userData: 32, tss: 40 } as const;
const VECTOR = 0x30;

/** An accessed segment of 4 GB with base 0. */
const segment = (type: number, dpl: number): readonly number[] => [
  ...[0xff, 0xff, 0, 0, 0, 0x91 | type | (dpl << 5), 0xcf, 0],
];
const gate = (eip: number, type: number): readonly number[] => [
  ...[eip & 0xff, (eip >> 8) & 0xff, SELECTOR.kernelCode, 0],
  ...[0, 0xe0 | type, (eip >> 16) & 0xff, eip >>> 24],
];

/** The loop `int 0x30; inc eax; div ebx; jmp`, of which DIV by zero faults, and both handlers. */
const LOOP = [0xcd, VECTOR, 0x40, 0xf7, 0xf3, 0xeb, 0xf9];
const HANDLER = [0x46, 0xcf];
/** Of #DE: inc edi; add dword [esp], 2; iret. */
const DIVIDE_HANDLER = [0x47, 0x83, 0x04, 0x24, 0x02, 0xcf];
const CODE = [...LOOP, ...HANDLER, ...DIVIDE_HANDLER];

function tables(machine: Machine, gateType: number): void {
  const put = (at: number, bytes: readonly number[]): void => {
    for (const [n, byte] of bytes.entries()) machine.memory.write8(at + n, byte);
  };
  const code = 0x0a;
  const data = 0x02;
  put(AT.gdt + 8, [...segment(code, 0), ...segment(data, 0), ...segment(code, 3), ...segment(data, 3)]);
  put(AT.gdt + SELECTOR.tss, [0x67, 0, 0x00, 0x20, 0x18, 0x8b, 0, 0]);
  put(AT.idt + VECTOR * 8, gate(CODE_BASE + LOOP.length, gateType));
  put(AT.idt, gate(CODE_BASE + LOOP.length + HANDLER.length, 0x0e));
  put(AT.tss + 4, [0, 0, 0x19, 0, SELECTOR.kernelData, 0, 0, 0]);
}

function processor(state: CpuState, cpl: number): void {
  const flat = RIGHTS.P | RIGHTS.S | RIGHTS.DB | RIGHTS.G | RIGHTS.ACCESSED | RIGHTS.WRITABLE_OR_READABLE;
  const rights = flat | (cpl << RIGHTS.DPL_SHIFT);
  const user = cpl === 3;
  state.setSegment(SEG.cs, user ? SELECTOR.userCode | 3 : SELECTOR.kernelCode, 0, 0xffffffff, rights | RIGHTS.CODE);
  for (const each of [SEG.ss, SEG.ds, SEG.es]) {
    state.setSegment(each, user ? SELECTOR.userData | 3 : SELECTOR.kernelData, 0, 0xffffffff, rights);
  }
  state.setSegment(SEG.tr, SELECTOR.tss, AT.tss, 0x67, RIGHTS.P | 0xb);
  state.set(CELL.gdtrBase, AT.gdt);
  state.set(CELL.gdtrLimit, 47);
  state.set(CELL.idtrBase, AT.idt);
  state.set(CELL.idtrLimit, VECTOR * 8 + 7);
  state.set(CELL.cpl, cpl);
  state.set(GPR.esp, AT.userStack);
  state.flags |= FLAG.IF;
}

/** mov ecx, esp; mov edx, on; sysenter; on: inc eax; jmp, and what it enters: inc esi; sti; sysexit. */
const FAST_CALLS = [
  ...[0x89, 0xe1, 0xba, 0x09, 0x00, (CODE_BASE >> 16) & 0xff, 0x00, 0x0f, 0x34],
  ...[0x40, 0xeb, 0xf4, 0x46, 0xfb, 0x0f, 0x35],
];

/** Machines that run the loop, or other code, compiled and interpreted. */
function machines(
  cpl: number,
  gateType: number,
  code: readonly number[] = CODE,
): { readonly both: Lockstep; readonly pair: readonly Machine[] } {
  const pair = [EAGER_POLICY, null].map((engine) => {
    const { machine } = boot({
      ...{ technique: "native", code: Uint8Array.from(code), engine },
      prepare: (state) => processor(state, cpl),
    });
    tables(machine, gateType);
    return machine;
  });
  const [compiled, interpreted] = pair as [Machine, Machine];
  return { both: new Lockstep(alone(compiled), alone(interpreted)), pair };
}

const WARM = 60_000 * TICKS_PER_CYCLE;
/** Bytes of which a bit is changed: descriptors, gates, the stack of the TSS. */
const CHANGED = [
  ...Array.from({ length: 40 }, (_, n) => AT.gdt + 8 + n),
  ...Array.from({ length: 8 }, (_, n) => AT.idt + n),
  ...Array.from({ length: 8 }, (_, n) => AT.idt + VECTOR * 8 + n),
  ...Array.from({ length: 8 }, (_, n) => AT.tss + 4 + n),
];

test.each([
  ["from CPL 3", 3, 0x0e],
  ["from CPL 3 through a trap gate", 3, 0x0f],
  ["at CPL 0", 0, 0x0e],
] as const)("INT, a fault and IRET %s, whatever bit of a table is different", (_, cpl, type) => {
  const saved = machines(cpl, type);
  saved.both.run(WARM);
  expect(saved.both.divergence?.report).toBe(undefined);
  const [compiled] = saved.pair as [Machine];
  expect(compiled.core.engineStatistics()["engine.transfers"]).toBeGreaterThan(100);
  for (let n = 0; n < CHANGED.length; n++) {
    const { both, pair } = machines(cpl, type);
    both.run(WARM / 4);
    for (const { memory } of pair) {
      const at = CHANGED[n] as number;
      memory.write8(at, memory.read8(at) ^ (1 << ((n * 5 + cpl) & 7)));
    }
    both.run(WARM / 2);
    expect(both.divergence?.report).toBe(undefined);
  }
});

test("stacks, EFLAGS and blocking that are not the usual ones", () => {
  const changes: readonly ((state: CpuState) => void)[] = [
    (state) => state.set(GPR.esp, AT.userStack + 2),
    (state) => state.set(GPR.esp, 0x1a0008),
    (state) => state.set(GPR.esp, 4),
    (state) => (state.flags |= FLAG.NT),
    (state) => (state.flags |= FLAG.TF),
    (state) => (state.flags |= FLAG.RF | FLAG.IOPL),
    (state) => (state.flags &= ~FLAG.IF),
    (state) => state.set(CELL.interruptibility, 8),
    (state) => state.set(CELL.gdtrLimit, 30),
    (state) => state.set(CELL.idtrLimit, VECTOR * 8 + 6),
    (state) => state.setSegment(SEG.tr, SELECTOR.tss, AT.tss, 8, RIGHTS.P | 0xb),
    (state) => state.setSegment(SEG.tr, SELECTOR.tss, AT.tss, 0x67, RIGHTS.P | 3),
    (state) => state.setSegment(SEG.tr, SELECTOR.tss, AT.tss + 1, 0x67, RIGHTS.P | 0xb),
    (state) => state.setSegment(SEG.ss, 0x23, 0x10, 0x1affff, state.segmentRights(SEG.ss)),
    (state) => state.setSegment(SEG.ss, 0x23, 0, 0xffffffff, state.segmentRights(SEG.ss) & ~RIGHTS.DB),
  ];
  for (const cpl of [0, 3]) {
    for (const change of changes) {
      const { both, pair } = machines(cpl, 0x0e);
      both.run(WARM / 4);
      for (const { core } of pair) change(core.state);
      both.run(WARM / 2);
      expect(both.divergence?.report).toBe(undefined);
    }
  }
});

test("SYSENTER, and SYSEXIT in the shadow of STI", () => {
  const changes: readonly ((state: CpuState) => void)[] = [
    () => undefined,
    (state) => state.set(CELL.sysenterCs, 0),
    (state) => state.set(CELL.sysenterCs, 0xfff8),
    (state) => (state.flags |= FLAG.IOPL),
    (state) => (state.flags |= FLAG.TF),
    (state) => (state.flags |= FLAG.VIP),
    (state) => (state.flags |= FLAG.NT | FLAG.RF),
    (state) => (state.flags &= ~FLAG.IF),
    (state) => state.set(CELL.interruptibility, 8),
    (state) => state.set(CELL.pendingDebug, 1 << 14),
    (state) => state.set(CELL.sysenterEip, CODE_BASE + 13),
    (state) => state.set(CELL.sysenterEip, 0xfffffff0),
  ];
  for (const change of changes) {
    const { both, pair } = machines(3, 0x0e, FAST_CALLS);
    for (const { core } of pair) {
      core.state.set(CELL.sysenterCs, SELECTOR.kernelCode);
      core.state.set(CELL.sysenterEip, CODE_BASE + 12);
      core.state.set(CELL.sysenterEsp, AT.kernelStack);
    }
    both.run(WARM / 4);
    const interpreted = (pair[0] as Machine).core.engineStatistics()["engine.interpreted"] as number;
    both.run(WARM / 2);
    // Only STI sees whether a device wants something since one has changed.
    expect((pair[0] as Machine).core.engineStatistics()["engine.interpreted"]).toBeLessThan(interpreted + 10);
    for (const { core } of pair) change(core.state);
    both.run(WARM);
    expect(both.divergence?.report).toBe(undefined);
  }
});
