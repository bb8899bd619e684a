// Debug registers at work (SDM vol. 3, 17.2, 17.3): what meets a breakpoint, when the exception comes, what DR6 and the
// image of RF say. Blocks of any length behave alike.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CELL, CpuState, CR4, FLAG, GPR, VECTOR } from "../../sim/cpu/state.ts";
import {
  dataBreakpoints,
  instructionBreakpoints,
  instructionBreakpointWithin,
  portBreakpoints,
} from "../../sim/cpu/system/breakpoints.ts";
import { AT, handlerAddress, Rig, SELECTOR } from "./rig.ts";

const KIND = { execute: 0, write: 1, port: 2, access: 3 } as const;
const LEN = { 1: 0, 2: 1, 8: 2, 4: 3 } as const;
const BS = 1 << 14;
const STICKY = 0xe00f;
const IRET_HANDLER = "cf";

/** Sets breakpoint `n`, enabled by its G bit. */
function arm(state: CpuState, n: number, kind: keyof typeof KIND, address: number, length: keyof typeof LEN = 1): void {
  const shift = 16 + 4 * n;
  const dr7 = (state.get(CELL.dr7) & ~(0xf << shift)) | ((KIND[kind] | (LEN[length] << 2)) << shift) | (2 << (2 * n));
  state.set(CELL.dr0 + 2 * n, address);
  state.set(CELL.dr7, dr7 | 0x400);
}

function rig(code: string, maxBlock = 32): Rig {
  const r = new Rig({ maxBlock }).code(code);
  r.core.state.set(CELL.dr6, 0xffff0ff0);
  return r;
}

const dr6 = (r: Rig): number => r.core.state.get(CELL.dr6) & STICKY;

describe.each([1, 3, 32])("instruction breakpoints, blocks of %i", (maxBlock) => {
  // inc eax; inc ebx; inc ecx; hlt
  const CODE = "40 43 41 f4";

  test("fault before the instruction, with RF in the image, and the return goes through it", () => {
    const r = rig(CODE, maxBlock).handler(VECTOR.DB, `45 ${IRET_HANDLER}`);
    arm(r.core.state, 1, "execute", AT.code + 1);
    expect(r.run()).toEqual({ kind: "dead-halt" });
    const { state } = r.core;
    expect([state.get(GPR.eax), state.get(GPR.ebx), state.get(GPR.ecx), state.get(GPR.ebp)]).toEqual([1, 1, 1, 1]);
    expect(dr6(r)).toBe(2);
    expect(state.flags & FLAG.RF).toBe(0);
  });

  test("leave the instruction undone", () => {
    const r = rig(CODE, maxBlock);
    arm(r.core.state, 0, "execute", AT.code + 1);
    r.run();
    expect([r.handled, r.eax, r.core.state.get(GPR.ebx)]).toEqual([VECTOR.DB, 1, 0]);
    expect([r.stack(0), r.stack(2)]).toEqual([AT.code + 1, (r.stack(2) & ~FLAG.RF) | FLAG.RF]);
  });

  test("trigger at each turn of a loop", () => {
    // mov ecx,3; inc eax; loop -3; hlt
    const r = rig("b9 03 00 00 00 40 e2 fd f4", maxBlock).handler(VECTOR.DB, `45 ${IRET_HANDLER}`);
    arm(r.core.state, 0, "execute", AT.code + 5);
    r.run();
    expect([r.eax, r.core.state.get(GPR.ebp)]).toEqual([3, 3]);
  });

  test("come before a fault of the instruction and of its fetch", () => {
    const r = rig("0f 0b", maxBlock);
    arm(r.core.state, 0, "execute", AT.code);
    r.run();
    expect(r.handled).toBe(VECTOR.DB);
    const absent = rig("90", maxBlock).paging().map(AT.code, 0);
    arm(absent.core.state, 0, "execute", AT.code);
    absent.run();
    expect(absent.handled).toBe(VECTOR.DB);
  });

  test("several at one address are reported together", () => {
    const r = rig(CODE, maxBlock);
    for (const n of [0, 3]) arm(r.core.state, n, "execute", AT.code);
    arm(r.core.state, 1, "execute", AT.code + 1);
    r.run();
    expect(dr6(r)).toBe(0b1001);
  });

  test("are held off by MOV SS for the instruction that follows", () => {
    // mov ss,dx; inc eax; inc ebx; hlt
    const r = rig("8e d2 40 43 f4", maxBlock);
    r.core.state.set(GPR.edx, SELECTOR.data);
    arm(r.core.state, 0, "execute", AT.code + 2);
    arm(r.core.state, 1, "execute", AT.code + 3);
    r.run();
    expect([r.handled, r.eax, dr6(r)]).toEqual([VECTOR.DB, 1, 2]);
  });

  test("trigger once for a string instruction, whatever interrupts it", () => {
    // mov ecx,8; rep stosb; hlt
    const r = rig("b9 08 00 00 00 f3 aa f4", maxBlock).handler(VECTOR.DB, `45 ${IRET_HANDLER}`);
    r.handler(0x40, `46 ${IRET_HANDLER}`);
    r.core.state.set(GPR.edi, AT.data);
    r.core.state.flags |= FLAG.IF;
    arm(r.core.state, 0, "execute", AT.code + 5);
    r.step(5);
    r.bus.pending.push(0x40);
    r.core.state.flags |= FLAG.IF;
    for (let n = 0; n < 40; n++) r.step(1);
    expect(r.core.state.get(GPR.ebp)).toBe(1);
    expect(r.core.state.get(GPR.edi)).toBe(AT.data + 8);
  });

  test("do nothing without L and G, and either is enough", () => {
    for (const enable of [0, 1, 2, 3]) {
      const r = rig(CODE, maxBlock);
      arm(r.core.state, 0, "execute", AT.code + 1);
      r.core.state.set(CELL.dr7, 0x400 | enable);
      r.run();
      expect(r.handled).toBe(enable === 0 ? -1 : VECTOR.DB);
    }
  });

  test("can be set by the program, from the next instruction on", () => {
    // mov dr0,eax; mov dr7,ebx; inc ecx; hlt
    const r = rig("0f 23 c0 0f 23 fb 41 f4", maxBlock);
    r.core.state.set(GPR.eax, AT.code + 6);
    r.core.state.set(GPR.ebx, 2);
    r.run();
    expect([r.handled, r.stack(0), r.core.state.get(GPR.ecx)]).toEqual([VECTOR.DB, AT.code + 6, 0]);
  });
});

describe.each([1, 3, 32])("data breakpoints, blocks of %i", (maxBlock) => {
  // mov [data],eax; inc ebx; hlt
  const STORE = "a3 00 00 02 00 43 f4";
  // mov eax,[data]; inc ebx; hlt
  const LOAD = "a1 00 00 02 00 43 f4";

  test.each([
    ["write", STORE, "write", true],
    ["write", LOAD, "write", false],
    ["access", STORE, "access", true],
    ["access", LOAD, "access", true],
    ["a read-modify-write", "ff 05 00 00 02 00 43 f4", "write", true],
  ] as const)("%s: %s against %s", (_what, code, kind, traps) => {
    const r = rig(code, maxBlock);
    arm(r.core.state, 2, kind, AT.data, 4);
    r.run();
    expect(r.handled).toBe(traps ? VECTOR.DB : -1);
    if (traps) expect([dr6(r), r.core.state.get(GPR.ebx)]).toEqual([4, 0]);
  });

  test("are traps: after the instruction, RF clear in the image", () => {
    const r = rig(STORE, maxBlock);
    r.core.state.set(GPR.eax, 0x12345678);
    arm(r.core.state, 0, "write", AT.data, 4);
    r.run();
    expect([r.memory.read32(AT.data), r.stack(0), r.stack(2) & FLAG.RF]).toEqual([0x12345678, AT.code + 5, 0]);
  });

  test("trigger although the page was in use before, with and without paging", () => {
    for (const paging of [false, true]) {
      // mov [data],eax twice, then DR7, then again
      const r = rig("a3 00 00 02 00 a3 00 00 02 00 0f 23 fb a3 00 00 02 00 41 f4", maxBlock);
      if (paging) r.paging();
      r.core.state.set(CELL.dr0, AT.data + 3);
      r.core.state.set(GPR.ebx, 0x00010002);
      r.run();
      expect([r.handled, r.stack(0)]).toEqual([VECTOR.DB, AT.code + 18]);
    }
  });

  test("see parts of accesses across pages", () => {
    const r = rig("a3 fe 0f 02 00 43 f4", maxBlock);
    arm(r.core.state, 0, "write", AT.data + 0x1001);
    r.run();
    expect([r.handled, dr6(r)]).toEqual([VECTOR.DB, 1]);
  });

  test("stop a string instruction after the iteration that meets them, RF in the image", () => {
    // mov ecx,8; rep stosb; hlt
    const r = rig("b9 08 00 00 00 f3 aa f4", maxBlock);
    r.core.state.set(GPR.edi, AT.data);
    arm(r.core.state, 0, "write", AT.data + 2);
    r.run();
    expect([r.handled, r.core.state.get(GPR.ecx), r.stack(0)]).toEqual([VECTOR.DB, 5, AT.code + 5]);
    expect(r.stack(2) & FLAG.RF).toBe(FLAG.RF);
  });

  test("are forgotten when the instruction faults", () => {
    // movsb from the breakpoint to an absent page
    const r = rig("a4 f4", maxBlock).paging().map(0x30000, 0);
    r.core.state.set(GPR.esi, AT.data);
    r.core.state.set(GPR.edi, 0x30000);
    arm(r.core.state, 0, "access", AT.data);
    r.run();
    expect([r.handled, dr6(r)]).toEqual([VECTOR.PF, 0]);
  });

  test("met after MOV SS wait for the end of the next instruction", () => {
    // mov ss,[data]; inc ebx; inc ecx; hlt
    const r = rig("8e 15 00 00 02 00 43 41 f4", maxBlock);
    r.memory.write16(AT.data, SELECTOR.data);
    arm(r.core.state, 0, "access", AT.data, 2);
    r.run();
    const { state } = r.core;
    expect([r.handled, state.get(GPR.ebx), state.get(GPR.ecx), dr6(r)]).toEqual([VECTOR.DB, 1, 0, 1]);
  });

  test("met by a delivery's own pushes trap at the handler's first instruction", () => {
    const r = rig("cd 40", maxBlock).handler(0x40, "43 f4");
    arm(r.core.state, 0, "write", AT.stack - 4, 4);
    r.run();
    expect([r.handled, r.stack(0), r.core.state.get(GPR.ebx)]).toEqual([VECTOR.DB, handlerAddress(0x40), 0]);
    expect(dr6(r)).toBe(1);
  });

  test("come together with a single step in one exception", () => {
    const r = rig(STORE, maxBlock);
    arm(r.core.state, 3, "write", AT.data);
    r.core.state.flags |= FLAG.TF;
    r.run();
    expect([r.handled, dr6(r)]).toEqual([VECTOR.DB, BS | 8]);
  });

  test("come before an instruction breakpoint on the next instruction, which comes when they return", () => {
    const r = rig(STORE, maxBlock);
    arm(r.core.state, 0, "write", AT.data);
    arm(r.core.state, 1, "execute", AT.code + 5);
    // The handler shifts B3 to B0 of each turn into EBP and clears DR6.
    r.handler(VECTOR.DB, "0f 21 f0 24 0f c1 e5 04 09 c5 31 c0 0f 23 f0 cf");
    r.run();
    expect(r.core.state.get(GPR.ebp) & 0xff).toBe(0x12);
  });
});

describe("I/O breakpoints", () => {
  // in al,dx; inc ebx; hlt
  const IN = "ec 43 f4";

  test("are traps after the access, with CR4.DE only", () => {
    for (const de of [0, CR4.DE]) {
      const r = rig(IN);
      r.core.state.set(GPR.edx, 0x61);
      r.core.state.set(CELL.cr4, de);
      arm(r.core.state, 0, "port", 0x60, 2);
      r.run();
      expect([r.handled, r.core.state.get(GPR.ebx), r.eax]).toEqual(de === 0 ? [-1, 1, 0xff] : [VECTOR.DB, 0, 0xff]);
    }
  });

  test("see wide and string accesses", () => {
    for (const code of ["66 ef 43 f4", "6f 43 f4"]) {
      const r = rig(code);
      r.core.state.set(GPR.edx, 0x5f);
      r.core.state.set(GPR.esi, AT.data);
      r.core.state.set(CELL.cr4, CR4.DE);
      arm(r.core.state, 1, "port", 0x60);
      r.run();
      expect([r.handled, dr6(r)]).toEqual([VECTOR.DB, 2]);
    }
  });
});

describe("DR6", () => {
  test("is never cleared by the processor", () => {
    const r = rig("a3 00 00 02 00 43 f4");
    r.core.state.set(CELL.dr6, 0xffff0ff8);
    arm(r.core.state, 0, "write", AT.data);
    r.run();
    expect(dr6(r)).toBe(9);
  });

  test("says nothing of INT1 and INT 1", () => {
    for (const code of ["f1", "cd 01"]) {
      const r = rig(code);
      r.run();
      expect([r.handled, dr6(r)]).toEqual([VECTOR.DB, 0]);
    }
  });
});

describe("single step", () => {
  test("traps after POPF that clears TF, not after the one that sets it", () => {
    // push 0x102; popf; nop; hlt
    const r = rig("68 02 01 00 00 9d 90 f4");
    r.run();
    expect([r.handled, r.stack(0), dr6(r)]).toEqual([VECTOR.DB, AT.code + 7, BS]);
    const clears = rig("68 02 00 00 00 9d 90 f4");
    clears.step(1);
    clears.core.state.flags |= FLAG.TF;
    clears.run();
    expect([clears.handled, clears.stack(0)]).toEqual([VECTOR.DB, AT.code + 6]);
  });

  test("after MOV SS waits for the next instruction and comes once", () => {
    const r = rig("8e d2 43 41 f4");
    r.core.state.set(GPR.edx, SELECTOR.data);
    r.core.state.flags |= FLAG.TF;
    r.run();
    expect([r.handled, r.stack(0), r.core.state.get(CELL.interruptibility)]).toEqual([VECTOR.DB, AT.code + 3, 0]);
  });

  test("comes before a pending interrupt", () => {
    const r = rig("90 90 f4");
    r.bus.pending.push(0x40);
    r.core.state.flags |= FLAG.TF;
    r.step(1);
    r.core.state.flags |= FLAG.IF;
    r.step(1);
    expect([r.handled, r.stack(0)]).toEqual([VECTOR.DB, AT.code + 1]);
  });
});

// An oracle byte by byte, from the manual's examples of 17.2.5.
describe("what meets a breakpoint", () => {
  const number = fc.integer({ min: 0, max: 3 });
  const near = fc.integer({ min: 0x1000, max: 0x1020 });
  const setting = fc.record({
    n: number,
    kind: fc.constantFrom("execute", "write", "port", "access") as fc.Arbitrary<keyof typeof KIND>,
    address: near,
    length: fc.constantFrom(1, 2, 4, 8) as fc.Arbitrary<keyof typeof LEN>,
    enabled: fc.boolean(),
  });
  test("is what its bytes say, for random registers and accesses", () => {
    fc.assert(
      fc.property(
        fc.array(setting, { maxLength: 4 }),
        near,
        fc.constantFrom(1, 2, 4, 8),
        fc.boolean(),
        (all, at, bytes, de) => {
          const state = new CpuState();
          state.set(CELL.cr4, de ? CR4.DE : 0);
          const last = new Map(all.map((s) => [s.n, s]));
          for (const s of all) {
            arm(state, s.n, s.kind, s.address, s.length);
            if (!s.enabled) state.set(CELL.dr7, state.get(CELL.dr7) & ~(3 << (2 * s.n)));
          }
          const expected = (kinds: readonly string[], covers: (s: (typeof all)[number]) => boolean): number =>
            [...last.values()]
              .filter((s) => s.enabled && kinds.includes(s.kind) && covers(s))
              .reduce((mask, s) => mask | (1 << s.n), 0);
          const touches = (s: (typeof all)[number]): boolean => {
            const start = s.address - (s.address % s.length);
            for (let byte = at; byte < at + bytes; byte++) if (byte >= start && byte < start + s.length) return true;
            return false;
          };
          expect(dataBreakpoints(state, at, bytes, true)).toBe(expected(["write", "access"], touches));
          expect(dataBreakpoints(state, at, bytes, false)).toBe(expected(["access"], touches));
          expect(portBreakpoints(state, at, bytes)).toBe(de ? expected(["port"], touches) : 0);
          expect(instructionBreakpoints(state, at)).toBe(expected(["execute"], (s) => s.address === at));
          const within = expected(["execute"], (s) => s.address >= at && s.address < at + bytes) !== 0;
          expect(instructionBreakpointWithin(state, at, bytes)).toBe(within);
        },
      ),
      { seed: 1, numRuns: 2000 },
    );
  });
});
