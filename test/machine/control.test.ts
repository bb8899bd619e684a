// When a guest is left and when not; how runs end; time that passes while nothing happens.
import { describe, expect, test } from "vitest";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import { bare, handlers, PLACE, Program } from "./assemble.ts";
import { byName, CODE_BASE, guestWord, LIMIT, type Rig } from "./rig.ts";

const TECHNIQUES = ["native", "vtx"] as const;
const TIMER_VECTOR = 0x20;
const exits = ({ machine }: Rig): Record<string, number> =>
  Object.fromEntries(machine.technique.exits().map(({ cause, count }) => [cause, count]));

/** Spins in `jmp $` at the label "here", with a handler for the timer that ends the run. */
function spinning(prepare: (program: Program) => Program): Program {
  const program = prepare(new Program()).label("here").code(0xeb, 0xfe).label("done").exit();
  handlers(program, [TIMER_VECTOR], false);
  return program;
}

test("a guest in `jmp $` is never left while no physical interrupt is armed", () => {
  const program = spinning((p) => p);
  const rig = bare({ technique: "vtx", program, vectors: [TIMER_VECTOR] });
  rig.machine.run(100_000 * TICKS_PER_CYCLE);
  const [before, accounts] = [exits(rig), byName(rig.machine)];
  expect(rig.machine.run(1_000_000 * TICKS_PER_CYCLE)).toEqual({ kind: "limit", cs: 8, eip: program.address("here") });
  expect(exits(rig)).toEqual(before);
  for (const [name, { ticks }] of Object.entries(byName(rig.machine))) {
    if (name !== "guest-kernel/instructions") expect([name, ticks]).toEqual([name, accounts[name]?.ticks]);
  }
});

describe.each(TECHNIQUES)("under %s", (technique) => {
  test("a timer reaches a guest that spins", () => {
    const program = spinning((p) => p.timer(100).code(0xfb)); // STI
    const rig = bare({ technique, program, vectors: [TIMER_VECTOR] });
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
    const [vector, , eip, cs] = [4, 8, 12, 16].map((offset) => guestWord(rig.machine, PLACE.log + offset));
    expect([vector, eip, cs]).toEqual([TIMER_VECTOR, program.address("here"), 8]);
    if (technique === "vtx") expect(exits(rig)).toMatchObject({ "physical-interrupt": 1 });
  });

  test("a timer that is masked does not, and the guest is not left for it", () => {
    const program = spinning((p) => p.timer(100).out(0x21, 0xff).code(0xfb));
    const rig = bare({ technique, program, vectors: [TIMER_VECTOR] });
    expect(rig.machine.run(1_000_000 * TICKS_PER_CYCLE)).toMatchObject({ kind: "limit" });
    expect(guestWord(rig.machine, PLACE.log + 4)).toBe(0);
  });

  test("HLT with IF = 1 sleeps until the timer, and the time is idle", () => {
    const program = new Program().timer(1000).code(0xfb, 0xf4).label("woken").label("done").exit();
    handlers(program, [TIMER_VECTOR], true);
    const rig = bare({ technique, program, vectors: [TIMER_VECTOR] });
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
    expect(guestWord(rig.machine, PLACE.log + 12)).toBe(program.address("woken"));
    // 1 000 clocks of 838 ns are 3.18 million cycles at 3.8 GHz.
    expect((byName(rig.machine)["idle/halted"]?.ticks ?? 0) / TICKS_PER_CYCLE).toBeGreaterThan(3_000_000);
  });

  test("HLT with IF = 0 ends the run, and says where", () => {
    const program = new Program().timer(1000).code(0xf4).label("after");
    const rig = bare({ technique, program, vectors: [] });
    expect(rig.machine.run(LIMIT)).toEqual({ kind: "dead-halt", cs: 8, eip: program.address("after") });
    expect(rig.machine.run(LIMIT)).toMatchObject({ kind: "dead-halt" });
  });

  test("a triple fault ends the run, and says where it began", () => {
    const program = new Program().code(0x90).label("fault").code(0x0f, 0x0b); // UD2
    const rig = bare({ technique, program, vectors: [], idtLimit: 0 });
    const end = rig.machine.run(LIMIT);
    expect(end).toMatchObject({ kind: "triple-fault", cs: 8, eip: program.address("fault") });
    expect(rig.machine.run(LIMIT)).toMatchObject({ kind: "triple-fault" });
  });

  test("what is not modelled, as long mode, ends the run with what it is and where", () => {
    const program = new Program().mov("ecx", 0xc0000080).mov("eax", 0x100).code(0x31, 0xd2);
    program.label("wrmsr").code(0x0f, 0x30);
    const rig = bare({ technique, program, vectors: [] });
    const end = rig.machine.run(LIMIT);
    expect(end).toMatchObject({ kind: "unmodelled", cs: 8, eip: program.address("wrmsr") });
    expect(end).toMatchObject({ detail: expect.stringMatching(/^WRMSR to MSR c0000080/) });
  });

  test("a limit stops at the first boundary that reaches it, and the run can go on", () => {
    const program = spinning((p) => p);
    const rig = bare({ technique, program, vectors: [TIMER_VECTOR] });
    rig.machine.run(50_000 * TICKS_PER_CYCLE);
    for (const cycles of [50_001, 50_100, 77_777]) {
      expect(rig.machine.run(cycles * TICKS_PER_CYCLE)).toEqual({ kind: "limit", cs: 8, eip: program.address("here") });
      expect(rig.machine.ledger.clock.now).toBeGreaterThanOrEqual(cycles * TICKS_PER_CYCLE);
      expect(rig.machine.ledger.clock.now).toBeLessThan((cycles + 10) * TICKS_PER_CYCLE);
    }
    expect(program.address("here")).toBe(CODE_BASE);
  });
});
