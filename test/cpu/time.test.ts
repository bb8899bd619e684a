// When events are taken: at the first instruction boundary at which the clock has reached them, whatever the blocks.
import { describe, expect, test } from "vitest";
import { ACTIVITY, BLOCKING, CELL, FLAG, GPR } from "../../sim/cpu/state.ts";
import { AT, cheapProfile, handlerAddress, Rig, SELECTOR } from "./rig.ts";

const VECTOR = 0x30;
const DB = 1;
const NMI = 2;
const CAPS = [1, 2, 5, 64];
/** Registers that programs here use, and the time. */
function observe(rig: Rig): number[] {
  const { state } = rig.core;
  return [...state.save().slice(0, 18), state.flags, rig.cycles];
}

/** INC EAX; ADD [EBX],EAX; PUSH ECX; POP ECX; IMUL EDX,EAX; CMP EAX,[EBX]; DEC ECX; JNZ start; HLT */
const LOOP = "40 01 03 51 59 0f af d0 3b 03 49 75 f3 f4";

function looping(maxBlock: number): Rig {
  const rig = new Rig({ maxBlock }).paging().code(LOOP);
  rig.core.state.set(GPR.ecx, 40);
  rig.core.state.set(GPR.ebx, AT.data);
  rig.core.state.flags |= FLAG.IF;
  return rig;
}

describe("an interrupt that falls due in straight-line code", () => {
  test("is taken at the first boundary that reaches it, as stepping shows, for every block shape and moment", () => {
    // Warm TLBs and clock differ between a first and a later iteration, so the whole run is compared.
    const boundaries: { cycles: number; eip: number; eax: number }[] = [];
    const stepped = looping(64);
    for (let n = 0; n < 320; n++) {
      stepped.step();
      boundaries.push({ cycles: stepped.cycles, eip: stepped.core.state.eip, eax: stepped.eax });
    }
    const last = (boundaries.at(-2)?.cycles ?? 0) | 0;
    for (let due = 1; due < last; due += 7) {
      const expected = boundaries.find(({ cycles }) => cycles >= due);
      for (const maxBlock of CAPS) {
        const rig = looping(maxBlock).at(due, () => rig.bus.pending.push(VECTOR));
        rig.run();
        expect(rig.handled).toBe(VECTOR);
        expect({ due, maxBlock, eip: rig.stack(0), eax: rig.eax }).toEqual({
          due,
          maxBlock,
          eip: expected?.eip,
          eax: expected?.eax,
        });
      }
    }
  });

  test("leaves the same state and time for every block shape", () => {
    const results = CAPS.map((maxBlock) => {
      const rig = looping(maxBlock).at(300, () => rig.bus.pending.push(VECTOR));
      rig.handler(VECTOR, "45 cf");
      rig.run();
      return observe(rig);
    });
    for (const result of results) expect(result).toEqual(results[0]);
  });

  test("waits for IF, and for POPF or IRET that sets it", () => {
    // PUSH 202h; POPF; INC EAX; HLT
    const rig = new Rig().code("68 02 02 00 00 9d 40 f4");
    rig.bus.pending.push(VECTOR);
    rig.run();
    expect([rig.handled, rig.eax, rig.stack(0)]).toEqual([VECTOR, 0, AT.code + 6]);
  });

  test("a run stops at the first boundary that reaches its limit", () => {
    for (const maxBlock of CAPS) {
      const rig = new Rig({ maxBlock, profile: cheapProfile({ alu: 3 }) }).code("40 ".repeat(100));
      expect(rig.run(10)).toEqual({ kind: "limit" });
      expect([rig.cycles, rig.eax]).toEqual([12, 4]);
      rig.run(12);
      expect(rig.cycles).toBe(12);
      rig.run(13);
      expect(rig.cycles).toBe(15);
    }
  });

  test("slicing a run into many leaves its time alone", () => {
    const whole = looping(64);
    whole.run(400);
    const sliced = looping(64);
    for (let until = 1; until <= 400; until++) sliced.run(until);
    expect(observe(sliced)).toEqual(observe(whole));
  });
});

describe("interrupt shadows", () => {
  test("STI holds interrupts off for one instruction", () => {
    const rig = new Rig().code("fb 40 40 f4");
    rig.bus.pending.push(VECTOR);
    rig.run();
    expect([rig.handled, rig.eax]).toEqual([VECTOR, 1]);
  });

  test("STI with IF already set, or right after STI, begins none", () => {
    const set = new Rig().code("fb 40 40 f4");
    set.core.state.flags |= FLAG.IF;
    set.at(1, () => set.bus.pending.push(VECTOR));
    set.run();
    expect([set.handled, set.eax]).toEqual([VECTOR, 0]);
    const twice = new Rig().code("fb fb 40 f4");
    twice.bus.pending.push(VECTOR);
    twice.run();
    expect([twice.handled, twice.stack(0)]).toEqual([VECTOR, AT.code + 2]);
  });

  test.each([
    ["MOV SS", "8e d1 40 40 f4", 2],
    ["POP SS", "17 40 40 f4", 1],
  ])("%s does, and inhibits NMI and debug traps too", (_name, hex, length) => {
    for (const event of ["interrupt", "nmi", "trap"]) {
      const rig = new Rig({ profile: cheapProfile({ alu: 1, segmentLoad: 1, segmentPop: 1 }) }).code(hex);
      const { state } = rig.core;
      state.set(GPR.ecx, SELECTOR.data);
      state.set(GPR.esp, AT.stack - 4);
      rig.memory.write32(AT.stack - 4, SELECTOR.data);
      state.flags |= FLAG.IF;
      if (event === "interrupt") rig.at(1, () => rig.bus.pending.push(VECTOR));
      if (event === "nmi")
        rig.at(1, () => {
          rig.bus.nmiLine = true;
        });
      if (event === "trap") state.flags |= FLAG.TF;
      rig.run();
      expect([event, rig.eax, rig.stack(0)]).toEqual([event, 1, AT.code + length + 1]);
      expect(rig.handled).toBe({ interrupt: VECTOR, nmi: NMI, trap: DB }[event]);
    }
  });

  test("a fault in the shadow ends it", () => {
    const rig = new Rig().code("fb 0f 0b");
    rig.bus.pending.push(VECTOR);
    rig.gate(6, 0x8f);
    rig.run();
    // The trap gate leaves IF set: the interrupt comes before the first instruction of the #UD handler.
    expect([rig.handled, rig.stack(0)]).toEqual([VECTOR, handlerAddress(6)]);
    expect(rig.core.state.get(CELL.interruptibility)).toBe(0);
  });
});

describe("single step", () => {
  /** A #DB handler that counts in EDI and returns. */
  const counting = (rig: Rig): Rig => rig.handler(DB, "47 cf");
  const traps = (rig: Rig): number => rig.core.state.get(GPR.edi);

  test("traps after each instruction, with EIP of the next, DR6.BS, and TF clear in the handler", () => {
    for (const maxBlock of CAPS) {
      const rig = new Rig({ maxBlock }).code("40 40 40 f4");
      rig.core.state.flags |= FLAG.TF;
      rig.run();
      expect([rig.handled, rig.eax, rig.stack(0)]).toEqual([DB, 1, AT.code + 1]);
      expect(rig.core.state.get(CELL.dr6) & 0x4000).toBe(0x4000);
      expect(rig.core.state.flags & FLAG.TF).toBe(0);
      expect(rig.stack(2) & FLAG.TF).toBe(FLAG.TF);
    }
    const all = counting(new Rig()).code("40 40 40 eb fe");
    all.core.state.flags |= FLAG.TF;
    all.step(3 + 3 * 2);
    expect([all.eax, traps(all)]).toEqual([3, 3]);
  });

  test("begins after the instruction that follows POPF or IRET", () => {
    // PUSH 102h; POPF; INC EAX; INC EAX; HLT
    const popf = new Rig().code("68 02 01 00 00 9d 40 40 f4");
    popf.run();
    expect([popf.handled, popf.eax, popf.stack(0)]).toEqual([DB, 1, AT.code + 7]);
    const iret = new Rig().code("68 02 01 00 00 6a 08 68 0d 00 01 00 cf 40 40 f4");
    iret.run();
    expect([iret.handled, iret.eax, iret.stack(0)]).toEqual([DB, 1, AT.code + 14]);
  });

  test("POPF that clears TF is itself the last instruction that traps", () => {
    const rig = counting(new Rig()).code("6a 02 9d 40 40 f4");
    rig.core.state.flags |= FLAG.TF;
    rig.run();
    expect([rig.eax, traps(rig)]).toEqual([2, 2]);
  });

  test("traps after each iteration of a string instruction, with RF set before the last", () => {
    const rig = new Rig().code("f3 aa eb fe");
    rig.core.state.set(GPR.ecx, 3);
    rig.core.state.set(GPR.edi, AT.data);
    rig.core.state.flags |= FLAG.TF;
    const seen: number[][] = [];
    // The handler tells a port, so that its frame can be looked at.
    rig.handler(DB, "50 e6 80 58 cf");
    rig.bus.onPort = () => seen.push([rig.stack(1), rig.stack(3) & FLAG.RF, rig.core.state.get(GPR.ecx)]);
    rig.step(3 * 5);
    expect(seen).toEqual([
      [AT.code, FLAG.RF, 2],
      [AT.code, FLAG.RF, 1],
      [AT.code + 2, 0, 0],
    ]);
  });

  test("INT n does not trap, and its handler runs with TF clear", () => {
    const rig = counting(new Rig()).code("cd 40 eb fe").handler(0x40, "40 cf");
    rig.core.state.flags |= FLAG.TF;
    rig.step(4 + 2);
    // One trap only: after the jump, when IRET has restored TF.
    expect(rig.eax).toBe(1);
    expect(traps(rig)).toBe(1);
  });

  test("a trap comes before NMI and interrupts at the same boundary", () => {
    const rig = new Rig({ profile: cheapProfile({ alu: 1 }) }).code("40 40 f4");
    rig.core.state.flags |= FLAG.TF | FLAG.IF;
    rig.at(1, () => {
      rig.bus.nmiLine = true;
      rig.bus.pending.push(VECTOR);
    });
    rig.run();
    // NMI arrives at the #DB handler's first boundary, so it is the innermost; then, IF being clear, nothing.
    expect([rig.handled, rig.stack(0), rig.stack(3)]).toEqual([NMI, handlerAddress(DB), AT.code + 1]);
    expect(rig.bus.pending).toEqual([VECTOR]);
  });
});

describe("RF", () => {
  test("is set in the image of faults, and ends after the instruction that IRET returned to", () => {
    const rig = new Rig().code("0f 0b 40 f4");
    rig.run();
    expect(rig.stack(2) & FLAG.RF).toBe(FLAG.RF);
    const back = new Rig().code("68 02 00 01 00 6a 08 68 0d 00 01 00 cf 40 40 f4");
    back.step(4);
    expect(back.core.state.flags & FLAG.RF).toBe(FLAG.RF);
    back.step();
    expect([back.eax, back.core.state.flags & FLAG.RF]).toEqual([1, 0]);
  });

  test("of interrupts between instructions stays clear", () => {
    const rig = looping(64).at(100, () => rig.bus.pending.push(VECTOR));
    rig.run();
    expect(rig.stack(2) & FLAG.RF).toBe(0);
  });
});

describe("a repeated string instruction", () => {
  const costs = { stringStart: 10, stringIteration: 2 };
  function moving(maxBlock = 64): Rig {
    const rig = new Rig({ maxBlock, profile: cheapProfile(costs) }).code("f3 a4 f4");
    const { state } = rig.core;
    state.set(GPR.ecx, 20);
    state.set(GPR.esi, AT.data);
    state.set(GPR.edi, AT.data + 0x100);
    for (let n = 0; n < 20; n++) rig.memory.write8(AT.data + n, n + 1);
    state.flags |= FLAG.IF;
    return rig;
  }
  const copied = (rig: Rig): number[] => [...rig.memory.copyOut(AT.data + 0x100, 20)];
  const all = Array.from({ length: 20 }, (_, n) => n + 1);

  test("is interrupted after the iteration that reaches the event, with RF = 1 and EIP at itself", () => {
    for (const maxBlock of CAPS) {
      const rig = moving(maxBlock).at(15, () => rig.bus.pending.push(VECTOR));
      rig.run();
      expect([rig.handled, rig.stack(0), rig.core.state.get(GPR.ecx), rig.cycles]).toEqual([VECTOR, AT.code, 17, 16]);
      expect(rig.stack(2) & FLAG.RF).toBe(FLAG.RF);
    }
  });

  test("goes on where it was, and pays for its start again", () => {
    const rig = moving().at(15, () => rig.bus.pending.push(VECTOR));
    rig.handler(VECTOR, "cf").run();
    expect(copied(rig)).toEqual(all);
    expect(rig.cycles).toBe(10 + 10 + 20 * 2);
    expect(rig.core.state.flags & FLAG.RF).toBe(0);
  });

  test("does not pay again when nothing was taken: an alarm, or the limit of a run, is no event", () => {
    const rig = moving().at(15, () => undefined);
    for (let until = 1; until < 30; until++) rig.run(until);
    rig.run();
    expect([rig.cycles, rig.core.state.flags & FLAG.RF]).toEqual([50, 0]);
    expect(copied(rig)).toEqual(all);
  });

  test("that was returned to with RF keeps RF until its last iteration", () => {
    const rig = moving().at(15, () => undefined);
    rig.core.state.flags |= FLAG.RF;
    rig.run(17);
    expect([rig.core.state.get(GPR.ecx), rig.core.state.flags & FLAG.RF]).toEqual([16, FLAG.RF]);
    rig.run();
    expect(rig.core.state.flags & FLAG.RF).toBe(0);
  });

  test("saved in the middle and restored goes on at the same price", () => {
    const rig = moving();
    rig.run(15);
    const saved = rig.core.save();
    const elsewhere = moving();
    elsewhere.memory.restore(rig.memory.save());
    elsewhere.ledger.restore(rig.ledger.save());
    elsewhere.core.restore(saved);
    elsewhere.run();
    expect([elsewhere.cycles, copied(elsewhere)]).toEqual([50, all]);
  });

  test("with a count of zero does nothing but take its time", () => {
    const rig = moving();
    rig.core.state.set(GPR.ecx, 0);
    rig.run();
    expect([rig.cycles, copied(rig)[0]]).toEqual([10, 0]);
  });
});

describe("HLT", () => {
  test("waits for an interrupt, charged to idle, and returns behind HLT", () => {
    const rig = new Rig({ profile: cheapProfile({ alu: 1 }) }).code("40 f4 40 fa f4");
    rig.core.state.flags |= FLAG.IF;
    rig.handler(VECTOR, "cf").at(1000, () => rig.bus.pending.push(VECTOR));
    expect(rig.run()).toEqual({ kind: "dead-halt" });
    expect([rig.eax, rig.cycles]).toEqual([2, 1001]);
    const idle = rig.ledger.totals().find(({ domain }) => domain === "idle");
    expect(idle?.ticks).toBe(999 * 12);
  });

  test("an alarm that brings no interrupt does not wake it", () => {
    const rig = new Rig().code("f4 40 f4");
    rig.core.state.flags |= FLAG.IF;
    rig.at(500, () => undefined);
    expect(rig.run()).toEqual({ kind: "dead-halt" });
    expect([rig.eax, rig.core.state.get(CELL.activity)]).toEqual([0, ACTIVITY.HLT]);
  });

  test("STI; HLT does not lose an interrupt that is already waiting", () => {
    const rig = new Rig().code("fb f4 40 f4");
    rig.bus.pending.push(VECTOR);
    rig.run();
    expect([rig.handled, rig.stack(0)]).toEqual([VECTOR, AT.code + 2]);
  });

  test("with interrupts off and no NMI is a dead halt at once", () => {
    const rig = new Rig().code("f4").at(10, () => undefined);
    expect(rig.run()).toEqual({ kind: "dead-halt" });
  });
});

describe("NMI", () => {
  test("needs no IF, blocks further NMIs until IRET, and comes before an interrupt", () => {
    const rig = new Rig({ profile: cheapProfile({ alu: 1 }) }).code("40 40 40 f4");
    rig.core.state.flags |= FLAG.IF;
    const nmi = (): void => {
      rig.bus.nmiLine = true;
    };
    rig.at(1, () => {
      nmi();
      rig.bus.pending.push(VECTOR);
    });
    // The handler's INC EBP takes time; the second NMI comes there and must wait for its IRET.
    rig.at(2, nmi);
    rig.handler(NMI, "45 45 cf").handler(VECTOR, "47 cf");
    const order: number[] = [];
    for (let n = 0; n < 30 && rig.step().kind === "limit"; n++) if (rig.handled >= 0) order.push(rig.handled);
    expect([...new Set(order)]).toEqual([NMI, VECTOR]);
    expect(rig.core.state.get(GPR.ebp)).toBe(4);
    expect(rig.core.state.get(GPR.edi)).toBe(1);
    expect(rig.core.state.get(CELL.interruptibility) & BLOCKING.NMI).toBe(0);
  });
});

test("an instruction budget counts instructions and deliveries, and changes no result", () => {
  const whole = looping(64);
  whole.run();
  const stepped = looping(64);
  while (stepped.run(1e9, 7).kind === "limit");
  expect(observe(stepped)).toEqual(observe(whole));
});
