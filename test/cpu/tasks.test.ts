// Task switches through the whole core: events that arrive by a task gate, and faults of the task that was entered.
import { describe, expect, test } from "vitest";
import { ACTIVITY, BLOCKING, CELL, CR0, FLAG, GPR, SEG, VECTOR } from "../../sim/cpu/state.ts";
import { DR6_BT } from "../../sim/cpu/system/tasks.ts";
import { AT, Rig, SELECTOR } from "./rig.ts";

const TASK = { selector: 0x40, tss: 0x7800, code: 0x12000, stack: 0x14000 } as const;
const TASK_GATE = 0x85;

interface Changes {
  readonly flags?: number;
  readonly cs?: number;
  readonly ss?: number;
  readonly ds?: number;
  readonly trap?: boolean;
}

/** A second task at `TASK.code`, which halts, with a stack of its own. */
function withTask(rig: Rig, { flags = 2, cs = SELECTOR.code, ss = SELECTOR.data, ds, trap }: Changes = {}): Rig {
  const { memory } = rig;
  memory.write32(AT.gdt + TASK.selector, (TASK.tss << 16) | 0x67);
  memory.write32(AT.gdt + TASK.selector + 4, 0x00008900);
  memory.write32(TASK.tss + 4, TASK.stack);
  memory.write32(TASK.tss + 8, SELECTOR.data);
  memory.write32(TASK.tss + 0x1c, AT.directory);
  memory.write32(TASK.tss + 0x20, TASK.code);
  memory.write32(TASK.tss + 0x24, flags);
  memory.write32(TASK.tss + 0x38, TASK.stack);
  const data = ds ?? ss;
  for (const [n, selector] of [data, cs, ss, data, data, data].entries()) {
    memory.write32(TASK.tss + 0x48 + 4 * n, selector);
  }
  memory.write32(TASK.tss + 0x60, 0);
  memory.write32(TASK.tss + 0x64, 0x00680000 | (trap === true ? 1 : 0));
  rig.bytes(TASK.code, "f4");
  return rig;
}

function taskGate(rig: Rig, vector: number): Rig {
  return rig.gate(vector, TASK_GATE, TASK.selector);
}

/** JMP far to the other task. */
const JUMP = "ea 00 00 00 00 40 00";

describe("events through task gates", () => {
  test("a double fault reaches its task although the stack it came from is gone", () => {
    const rig = withTask(taskGate(new Rig().paging(), VECTOR.DF));
    rig.map(AT.stack - 0x1000, 0).code("b8 78 56 34 12 cd 40");
    rig.gate(0x40, 0xee);
    expect(rig.step(2)).toEqual({ kind: "limit" });
    const { state } = rig.core;
    expect([state.selector(SEG.tr), state.eip]).toEqual([TASK.selector, TASK.code]);
    expect([rig.stack(0), state.get(GPR.esp)]).toEqual([0, TASK.stack - 4]);
    expect(state.get(CELL.cr2)).toBe(AT.stack - 4);
    expect([rig.memory.read32(AT.tss + 0x20), rig.memory.read32(AT.tss + 0x28)]).toEqual([AT.code + 5, 0x12345678]);
    expect(rig.memory.read32(TASK.tss) & 0xffff).toBe(SELECTOR.tss);
    expect(state.flags & FLAG.NT).toBe(FLAG.NT);
    expect(rig.run()).toEqual({ kind: "dead-halt" });
  });

  test("an NMI's task blocks NMIs until its IRET, which goes back to where the NMI came", () => {
    const rig = withTask(taskGate(new Rig(), VECTOR.NMI)).code("90 90 90");
    rig.bytes(TASK.code, "40 cf 40 cf");
    rig.bus.nmiLine = true;
    rig.step(1);
    const { state } = rig.core;
    expect([rig.eax, state.get(CELL.interruptibility)]).toEqual([1, BLOCKING.NMI]);
    rig.bus.nmiLine = true;
    rig.step(1);
    expect([state.selector(SEG.tr), state.eip, state.get(CELL.interruptibility)]).toEqual([SELECTOR.tss, AT.code, 0]);
    expect(rig.memory.read32(TASK.tss + 0x20)).toBe(TASK.code + 2);
    expect(rig.memory.read32(TASK.tss + 0x24) & FLAG.NT).toBe(0);
    rig.step(1);
    expect([rig.eax, state.get(CELL.interruptibility)]).toEqual([2, BLOCKING.NMI]);
  });

  test("an interrupt's task ends HLT, and returns behind it", () => {
    const rig = withTask(taskGate(new Rig(), 0x30)).code("fb f4 90");
    rig.bytes(TASK.code, "cf");
    rig.step(2);
    const { state } = rig.core;
    expect(state.get(CELL.activity)).toBe(ACTIVITY.HLT);
    rig.bus.pending.push(0x30);
    rig.step(1);
    expect([state.get(CELL.activity), state.eip, state.flags & FLAG.IF]).toEqual([
      ACTIVITY.ACTIVE,
      AT.code + 2,
      FLAG.IF,
    ]);
  });

  test("a fault's task finds RF in the image of the task that faulted, INT n's task does not", () => {
    const faulted = withTask(taskGate(new Rig(), VECTOR.UD)).code("0f 0b");
    faulted.step(1);
    expect(faulted.memory.read32(AT.tss + 0x24)).toBe(2 | FLAG.RF);
    const called = withTask(taskGate(new Rig(), 0x40)).code("cd 40");
    called.core.state.flags |= FLAG.RF;
    called.step(1);
    expect([called.memory.read32(AT.tss + 0x24), called.memory.read32(AT.tss + 0x20)]).toEqual([2, AT.code + 2]);
  });
});

describe("the task that is entered", () => {
  test("takes its own fault, on its own stack", () => {
    const rig = withTask(new Rig(), { cs: SELECTOR.userCode, ss: SELECTOR.userData, ds: SELECTOR.data }).code(JUMP);
    rig.step(1);
    expect(rig.handled).toBe(VECTOR.TS);
    expect([0, 1, 2, 3, 4, 5].map((n) => rig.stack(n))).toEqual([
      SELECTOR.data,
      TASK.code,
      SELECTOR.userCode,
      2 | FLAG.RF,
      TASK.stack,
      SELECTOR.userData,
    ]);
    expect(rig.core.state.selector(SEG.tr)).toBe(TASK.selector);
    expect(rig.core.state.cr0 & CR0.TS).toBe(CR0.TS);
  });

  test("shuts the processor down if its stack cannot take the fault", () => {
    const rig = withTask(new Rig(), { ss: 0 }).code(JUMP);
    expect(rig.step(1).kind).toBe("triple-fault");
  });

  test("runs its first instruction with the RF of its TSS, whatever RF the jump had", () => {
    for (const old of [0, FLAG.RF]) {
      const rig = withTask(new Rig(), { flags: 2 | FLAG.RF }).code(JUMP);
      rig.bytes(TASK.code, "90 90");
      rig.core.state.flags |= old;
      rig.step(1);
      expect(rig.core.state.flags & FLAG.RF).toBe(FLAG.RF);
      rig.step(1);
      expect(rig.core.state.flags & FLAG.RF).toBe(0);
    }
  });

  test("traps before its first instruction if its T bit is set", () => {
    const rig = withTask(new Rig(), { trap: true }).code(JUMP);
    rig.step(2);
    expect([rig.handled, rig.stack(0), rig.core.state.get(CELL.dr6) & DR6_BT]).toEqual([VECTOR.DB, TASK.code, DR6_BT]);
  });

  test("costs a task switch of the profile", () => {
    const rig = withTask(new Rig()).code(JUMP);
    rig.step(1);
    const spent = (name: string): number => rig.core.env.profile.costs[name as "taskSwitch"].value;
    expect(rig.cycles).toBeGreaterThanOrEqual(spent("taskSwitch") + spent("farJump"));
  });
});
