// Hardware task switches by every route: on bare hardware, under VT-x, where each of them exits and is the monitor's to
// perform, and emulated.
import { describe, expect, test } from "vitest";
import { bare, handlers, PLACE, Program } from "./assemble.ts";
import { differences, guestRam, guestWord, LIMIT, type Rig, registers, type Setup } from "./rig.ts";

const GDT = 0xc000;
const POINTER = 0xcff0;
const TSS = 0xd000;
const TSS_STEP = 0x80;
/** What the tasks count. */
const COUNT = {
  call: 0x6000,
  jump: 0x6004,
  error: 0x6008,
  timer: 0x600c,
  trapped: 0x6010,
  bad: 0x6014,
  failed: 0x6018,
};
const TIMER_VECTOR = 0x20;

/** Tasks by name: their TSSs' selectors. The first is the one that runs. */
const TASKS = ["main", "call", "jump", "fault", "timer", "trapped", "bad", "rescue"] as const;
type Task = (typeof TASKS)[number];
const numberOf = (task: Task): number => TASKS.indexOf(task);
const selectorOf = (task: Task): number => 0x30 + 8 * numberOf(task);
const tssOf = (task: Task): number => TSS + TSS_STEP * numberOf(task);

const far = (opcode: number, task: Task): number[] => [opcode, 0, 0, 0, 0, selectorOf(task), 0];
const call = (task: Task): number[] => far(0x9a, task);
const jump = (task: Task): number[] => far(0xea, task);
const increment = (address: number): number[] => [0xff, 0x05, address & 0xff, address >>> 8, 0, 0];
const IRET = 0xcf;

function mainTask(p: Program): void {
  p.code(0x0f, 0x01, 0x15, POINTER & 0xff, POINTER >>> 8, 0, 0); // LGDT [POINTER]
  p.mov("eax", selectorOf("main")).code(0x0f, 0x00, 0xd8); // LTR AX
  p.mov("ebx", 0x11111111)
    .code(...call("call"), ...call("call"))
    .code(...jump("jump"), ...jump("jump"));
  p.code(0xcd, 0x40); // INT 40h
  p.mov("eax", 0x1234).code(0x8e, 0xd8); // MOV DS, AX: #GP(1234h), which the fault's task steps over
  p.code(...call("trapped"));
  p.timer(200).code(0xfb, 0xf4, 0xfa); // STI; HLT; CLI
  p.code(...jump("bad"));
  p.code(0x0f, 0x06); // CLTS
  p.label("done").exit();
}

function otherTasks(p: Program): void {
  p.label("call")
    .code(...increment(COUNT.call), IRET)
    .jmp("call");
  p.label("jump")
    .code(...increment(COUNT.jump), ...jump("main"))
    .jmp("jump");
  // POP EAX; MOV [error], EAX; ADD DWORD [EIP of main], 2; IRET
  p.label("fault").code(0x58).store(COUNT.error, "eax");
  p.code(0x83, 0x05, (tssOf("main") + 0x20) & 0xff, (tssOf("main") + 0x20) >>> 8, 0, 0, 2, IRET).jmp("fault");
  p.label("timer")
    .code(...increment(COUNT.timer))
    .out(0x20, 0x20)
    .code(IRET)
    .jmp("timer");
  p.label("trapped")
    .code(...increment(COUNT.trapped), IRET)
    .jmp("trapped");
  p.label("bad").code(...increment(COUNT.bad));
  p.label("rescue")
    .code(0x58)
    .store(COUNT.failed, "eax")
    .code(...jump("main"));
}

function start(setup: Setup): Rig {
  const program = new Program();
  mainTask(program);
  otherTasks(program);
  handlers(program, [1], true);
  const rig = bare({ ...setup, program, vectors: [1], paging: true });
  const write = (address: number, ...words: number[]): void => {
    for (const [n, word] of words.entries()) {
      const bytes = Uint8Array.of(word, word >>> 8, word >>> 16, word >>> 24);
      rig.machine.technique.writeGuest(address + 4 * n, bytes);
    }
  };
  for (let at = 0; at < 0x30; at += 4) write(GDT + at, guestWord(rig.machine, PLACE.gdt + at));
  const gdtBytes = 0x30 + 8 * TASKS.length;
  write(POINTER, (GDT << 16) | (gdtBytes - 1), GDT >>> 16);
  for (const task of TASKS) {
    write(GDT + selectorOf(task), (tssOf(task) << 16) | 0x67, 0x8900);
    if (task === "main") continue;
    const tss = tssOf(task);
    // The tasks share the second address space, main has the first.
    write(tss + 0x1c, PLACE.directoryB, program.address(task), 2);
    write(tss + 0x38, 0xa000 + 0x400 * numberOf(task)); // ESP
    const stack = task === "bad" ? 0x23 : 0x10;
    write(tss + 0x48, 0x23, 0x08, stack, 0x23, 0, 0, 0, task === "trapped" ? 1 : 0);
  }
  write(tssOf("main") + 0x1c, PLACE.directoryA);
  const gates: readonly (readonly [number, Task])[] = [
    [10, "rescue"],
    [13, "fault"],
    [TIMER_VECTOR, "timer"],
    [0x40, "call"],
  ];
  for (const [vector, task] of gates) write(PLACE.idt + 8 * vector, selectorOf(task) << 16, 0x8500);
  return rig;
}

const native = start({ technique: "native" });
const end = native.machine.run(LIMIT);

test("tasks are switched by CALL, JMP, IRET, INT, an exception, an interrupt, and by a fault of a new task", () => {
  expect(end).toEqual({ kind: "exit", status: 0 });
  const counted = Object.entries(COUNT).map(([name, address]) => [name, guestWord(native.machine, address)]);
  expect(Object.fromEntries(counted)).toEqual({
    call: 3,
    jump: 2,
    error: 0x1234,
    timer: 1,
    trapped: 1,
    bad: 0,
    failed: 0x20,
  });
  // The trap of the T bit: vector 1, DR6.BT.
  expect(guestWord(native.machine, PLACE.log + 4)).toBe(1);
  expect(guestWord(native.machine, PLACE.log + 4 + 8 * 4) & 0xe00f).toBe(0x8000);
});

describe.each([
  ["under VT-x", { technique: "vtx", pmapLayout: "shuffled" }],
  ["emulated", { technique: "vtx", emulateAlways: true }],
] as const)("%s", (how, setup) => {
  test("they leave the same registers and memory", () => {
    const rig = start(setup);
    expect(rig.machine.run(LIMIT * 10)).toEqual({ kind: "exit", status: 0 });
    expect(registers(rig.machine)).toEqual(registers(native.machine));
    const [ours, theirs] = [guestRam(rig.machine), guestRam(native.machine)];
    // A and D bits of page tables depend on what the TLB held.
    const wrong = differences(ours, theirs).filter((at) => at < PLACE.directoryA || at >= PLACE.tablesEnd);
    expect(wrong.map((at) => at.toString(16))).toEqual([]);
    const switches = rig.machine.technique.exits().find(({ cause }) => cause === "task-switch")?.count ?? 0;
    if (how === "emulated") {
      expect(switches).toBe(0);
      return;
    }
    // 2 CALLs, 2 JMPs, INT, trapped, fault, timer: there and back; to "bad" and back from "rescue". The state of "bad" is
    // none that VT-x can enter: its fault is delivered, and the task switched, by the emulator.
    expect(switches).toBe(2 * 8 + 2);
    expect(rig.machine.technique.counters()["emulation.entries"]).toBe(1);
  });
});
