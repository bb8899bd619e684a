// Lifted code is never stale, whoever writes, and a write drops no more than the blocks whose bytes it changes.
import { describe, expect, test } from "vitest";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import { CELL, GPR } from "../../sim/cpu/state.ts";
import { CODE_GRANULE_BYTES } from "../../sim/memory/physical.ts";
import { AT, cheapProfile, Rig } from "./rig.ts";

const CAPS = [1, 2, 5, 64];

describe("a store to code", () => {
  test.each(CAPS)("further on in its own block takes effect at once (blocks of %i)", (maxBlock) => {
    // MOV BYTE [INC EAX],48h (DEC EAX); NOP; NOP; INC EAX; HLT
    const rig = new Rig({ maxBlock }).code("c6 05 09 00 01 00 48 90 90 40 f4");
    rig.run();
    expect(rig.eax).toBe(0xffffffff);
  });

  test.each(CAPS)("of its own bytes takes effect when it runs again (blocks of %i)", (maxBlock) => {
    // INC BYTE [its own immediate]; DEC ECX; JNZ; HLT - here: ADD BYTE [EBX],1 on the immediate of MOV AL,0
    const rig = new Rig({ maxBlock }).code("b0 00 80 03 01 49 75 f8 f4");
    rig.core.state.set(GPR.ebx, AT.code + 1);
    rig.core.state.set(GPR.ecx, 5);
    rig.run();
    expect(rig.eax & 0xff).toBe(4);
  });

  test("by PUSH, CALL, a string instruction and XCHG is seen", () => {
    const target = AT.code + 0x100;
    const programs: [string, (rig: Rig) => void][] = [
      ["68 40 40 40 f4 e9 f6 00 00 00", (rig) => rig.core.state.set(GPR.esp, target + 4)],
      ["aa e9 fa 00 00 00", (rig) => rig.core.state.set(GPR.edi, target)],
      ["86 03 e9 f9 00 00 00", (rig) => rig.core.state.set(GPR.ebx, target)],
    ];
    for (const [hex, prepare] of programs) {
      const rig = new Rig().code(hex).bytes(target, "f4 f4 f4 f4");
      // The target's block is lifted first.
      rig.core.state.eip = target;
      rig.run();
      rig.core.state.set(CELL.activity, 0);
      rig.core.state.eip = AT.code;
      rig.core.state.set(GPR.eax, 0x40);
      prepare(rig);
      rig.run();
      expect(rig.core.state.eip).toBeGreaterThan(target + 1);
    }
  });

  test("REP STOS over itself restarts with the new bytes", () => {
    // 48h is DEC EAX: STOSB first overwrites its own prefix, then its opcode.
    for (const maxBlock of CAPS) {
      const rig = new Rig({ maxBlock }).code("f3 aa f4");
      rig.core.state.set(GPR.edi, AT.code);
      rig.core.state.set(GPR.ecx, 100);
      rig.core.state.set(GPR.eax, 0x90);
      rig.run();
      // After one iteration the prefix is NOP; STOSB then replaces itself by NOP and is done; HLT follows.
      expect([rig.core.state.get(GPR.ecx), rig.core.state.get(GPR.edi)]).toEqual([99, AT.code + 2]);
    }
  });

  test("through another linear address of the same page is seen", () => {
    const rig = new Rig().paging().code("c6 05 09 80 08 00 48 90 90 40 f4");
    rig.map(0x88000, AT.code | 7);
    rig.bytes(AT.code, "c6 05 09 80 08 00 48 90 90 40 f4");
    rig.run();
    expect(rig.eax).toBe(0xffffffff);
  });

  test("by a device, in the middle of a block, is seen from the next instruction on", () => {
    for (const maxBlock of CAPS) {
      const rig = new Rig({ maxBlock }).code("e6 80 40 40 f4");
      rig.bus.onPort = () => rig.memory.write8(AT.code + 3, 0x48);
      rig.run();
      expect(rig.eax).toBe(0);
    }
  });

  test("by whoever owns memory, between runs, is seen", () => {
    const writes: ((rig: Rig) => void)[] = [
      (rig) => rig.memory.write8(AT.code, 0x48),
      (rig) => rig.memory.write16(AT.code, 0x9048),
      (rig) => rig.memory.write32(AT.code, 0xfeeb9048 | 0),
      (rig) => rig.memory.copyIn(AT.code, Uint8Array.of(0x48)),
      (rig) => rig.memory.fill(AT.code, 1, 0x48),
      (rig) => rig.memory.write64(AT.code, Int32Array.of(0xfeeb9048 | 0, 0), 0),
      (rig) => rig.memory.write32(AT.code - 3, 0x48000000),
    ];
    for (const write of writes) {
      const rig = new Rig().code("40 90 eb fe");
      // More than once: a block that has been found again is remembered in another place.
      for (let n = 1; n <= 3; n++) {
        rig.core.state.eip = AT.code;
        rig.run(100 * n);
        expect(rig.eax).toBe(n);
      }
      write(rig);
      rig.core.state.eip = AT.code;
      rig.run(400);
      expect(rig.eax).toBe(2);
    }
  });
});

describe("an instruction on two pages", () => {
  const start = AT.code + 0xffd;
  const second = AT.code + 0x1000;
  /** MOV EAX,imm32 whose last two bytes are on the second page; HLT. */
  function crossing(): Rig {
    const rig = new Rig().paging().bytes(start, "b8 78 56");
    rig.bytes(0x50000, "34 12 f4").bytes(0x51000, "cc aa f4");
    return rig.map(second, 0x50007);
  }
  function value(rig: Rig): number {
    rig.core.state.eip = start;
    // One instruction only: what follows on the second page must not mark its granule as well.
    rig.step();
    return rig.eax;
  }

  test("follows its second page's mapping", () => {
    const rig = crossing();
    expect(value(rig)).toBe(0x12345678);
    rig.map(second, 0x51007);
    expect(value(rig)).toBe(0xaacc5678);
    rig.map(second, 0x50007);
    expect(value(rig)).toBe(0x12345678);
  });

  test("and writes to either page", () => {
    const rig = crossing();
    value(rig);
    rig.memory.write8(0x50000, 0x99);
    expect(value(rig)).toBe(0x12995678);
    rig.memory.write8(start + 1, 0x11);
    expect(value(rig)).toBe(0x12995611);
    rig.map(second, 0x51007);
    expect(value(rig)).toBe(0xaacc5611);
    rig.memory.write8(0x50000, 0x77);
    rig.memory.write8(0x51001, 0xbb);
    expect(value(rig)).toBe(0xbbcc5611);
  });
});

describe("granules", () => {
  /** INC EAX; JMP next granule; three times; HLT. */
  function threeGranules(): Rig {
    const hop = `40 eb ${(CODE_GRANULE_BYTES - 3).toString(16)}`;
    const rig = new Rig();
    for (let n = 0; n < 3; n++) rig.bytes(AT.code + n * CODE_GRANULE_BYTES, hop);
    rig.bytes(AT.code + 3 * CODE_GRANULE_BYTES, "f4");
    rig.run();
    return rig;
  }

  test("a write to another granule of the page drops nothing", () => {
    const rig = threeGranules();
    expect(rig.core.code.lifted).toBe(4);
    rig.memory.write32(AT.code + 4 * CODE_GRANULE_BYTES, -1);
    rig.memory.write32(AT.code - 4, -1);
    expect(rig.core.code.dropped).toBe(0);
  });

  test("a write drops the blocks of its bytes, and only them: not what shares their granule", () => {
    const rig = threeGranules();
    rig.memory.write32(AT.code + CODE_GRANULE_BYTES + 3, 0);
    rig.memory.write32(AT.code + CODE_GRANULE_BYTES - 4, 0);
    expect(rig.core.code.dropped).toBe(0);
    rig.memory.write8(AT.code + CODE_GRANULE_BYTES + 2, CODE_GRANULE_BYTES - 3);
    expect(rig.core.code.dropped).toBe(1);
    rig.core.state.set(CELL.activity, 0);
    rig.core.state.eip = AT.code;
    rig.run();
    expect(rig.eax).toBe(6);
    expect(rig.core.code.lifted).toBe(5);
    // It is dropped again: its granule was marked anew.
    rig.memory.write8(AT.code + CODE_GRANULE_BYTES, 0x48);
    expect(rig.core.code.dropped).toBe(2);
  });

  test("a block that spans two granules goes with either", () => {
    for (const at of [0, CODE_GRANULE_BYTES]) {
      const rig = new Rig().code(`${"90 ".repeat(CODE_GRANULE_BYTES + 8)} f4`);
      rig.core.state.eip = AT.code + CODE_GRANULE_BYTES - 4;
      rig.run();
      rig.memory.write8(AT.code + (at === 0 ? CODE_GRANULE_BYTES - 2 : at), 0x90);
      expect(rig.core.code.dropped).toBe(1);
    }
  });

  test("data beside code on one page costs no lifting, however often it is written", () => {
    // INC [EBX]; DEC ECX; JNZ; HLT with the data four granules on, or next to the code
    for (const distance of [4 * CODE_GRANULE_BYTES, 8]) {
      const rig = new Rig().code("ff 03 49 75 fb f4");
      rig.core.state.set(GPR.ebx, AT.code + distance);
      rig.core.state.set(GPR.ecx, 1000);
      rig.run();
      expect(rig.core.code.dropped).toBe(0);
      expect(rig.core.code.lifted).toBeLessThan(4);
    }
  });
});

test("a restored core lifts anew", () => {
  const rig = new Rig().code("40 f4");
  rig.run();
  const other = new Rig().code("48 f4");
  rig.memory.restore(other.memory.save());
  rig.core.restore(other.core.save());
  rig.run();
  expect(rig.eax).toBe(0xffffffff);
});

describe("code with classes", () => {
  test.each(CAPS)("charges each instruction to the account of its first byte (blocks of %i)", (maxBlock) => {
    // INC EAX; 3 x INC ECX; JMP +0; INC EDX; HLT
    const rig = new Rig({ maxBlock }).code("40 41 41 41 eb 00 42 f4");
    const account = (name: string) => rig.ledger.account("monitor", name);
    const [copied, inline] = [account("copied"), account("inline")];
    rig.core.code.classes = {
      first: AT.code,
      linear: AT.code,
      classes: Uint8Array.of(0, 1, 1, 1, 2, 2, 0),
      accounts: [
        { kernel: copied, user: copied },
        { kernel: inline, user: inline },
      ],
    };
    rig.run();
    // A class without an account, and what lies behind the map, is charged as ever.
    expect([copied, inline].map((each) => rig.ledger.retired(each))).toEqual([2, 3]);
    expect(rig.ledger.retired(rig.core.accounts.byDomain["guest-kernel"].instructions)).toBe(2);
  });

  test.each([false, true])("charges iterations of a string instruction to its account (in bulk: %s)", (bulk) => {
    // MOV ECX, 32; MOV EDI, 20000h; REP STOSD; HLT
    const rig = new Rig({ profile: cheapProfile({ stringStart: 7, stringIteration: 5 }) });
    rig.code("b9 20 00 00 00 bf 00 00 02 00 f3 ab f4");
    rig.core.env.bulk = bulk;
    const copied = rig.ledger.account("monitor", "copied");
    rig.core.code.classes = {
      first: AT.code,
      linear: AT.code,
      classes: Uint8Array.of(...new Array(10).fill(1), 0, 0, 1),
      accounts: [{ kernel: copied, user: copied }],
    };
    rig.run();
    expect(rig.ledger.totals().find(({ activity }) => activity === "copied")).toMatchObject({
      ticks: (7 + 32 * 5) * TICKS_PER_CYCLE,
      retired: 1,
    });
  });
});
