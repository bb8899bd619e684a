// Sessions: pieces of a run, input by scripts, breakpoints. Nothing of it may depend on how a run is cut.
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readImage } from "../../experiments/images.ts";
import { modeText, processorOf } from "../../experiments/inspect.ts";
import { IMAGES_FOLDER } from "../../experiments/paths.ts";
import type { ScriptStep } from "../../experiments/script.ts";
import { keysOf, unescaped } from "../../experiments/script.ts";
import { Session } from "../../experiments/session.ts";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import { CELL, CpuState, GPR } from "../../sim/cpu/state.ts";
import { expects, requestFor, SYMBOL, sends, sessionOf } from "../cli/guest.ts";
import { account } from "../machine/rig.ts";

const TECHNIQUES = ["native", "vtx"] as const;
const FOREVER = Number.POSITIVE_INFINITY;
const typed = (text: string): ScriptStep => {
  const keys = keysOf(text);
  if ("error" in keys) throw new Error(keys.error);
  return { kind: "send-keys", keys };
};

const CONVERSATION: readonly ScriptStep[] = [
  ...[expects("login: "), sends("root\n"), expects("# "), sends("keys\n"), expects("type: ")],
  ...[typed("Ab<enter>"), expects("# "), sends("exit\n")],
];
const TRANSCRIPT = "login: root\r\nhello, root\r\n# keys\r\ntype: 2a 1e 9e aa 30 b0 1c 9c \r\n# exit\r\n";

/** Everything countable of a session that has ended. */
function outcome(session: Session): object {
  if (session.end === null) throw new Error("the session goes on");
  const serial = [...session.serial].map((character) => character.charCodeAt(0));
  return account({ machine: session.machine, serial }, session.end);
}

/** The run in one piece: what every other way to run it is compared with. */
const whole = Object.fromEntries(
  TECHNIQUES.map((technique) => {
    const session = sessionOf(technique, CONVERSATION);
    session.run({ until: FOREVER });
    return [technique, outcome(session)];
  }),
);

describe.each(TECHNIQUES)("a session under %s", (technique) => {
  test("a script talks with the guest on the serial port and the keyboard", () => {
    const session = sessionOf(technique, CONVERSATION);
    expect(session.run({ until: FOREVER })).toEqual({ kind: "exit", status: 0 });
    expect(session.serial).toBe(TRANSCRIPT);
    expect(session.script.step).toBeUndefined();
  });

  test("the length of its pieces changes nothing, to the tick", () => {
    const length = fc.integer({ min: 1, max: 40_000 * TICKS_PER_CYCLE });
    fc.assert(
      fc.property(fc.array(length, { minLength: 1, maxLength: 5 }), (lengths) => {
        const session = sessionOf(technique, CONVERSATION);
        // Pieces of a few ticks make no progress worth waiting for: every fifth is long.
        for (let n = 0; session.end === null; n++) {
          const ticks = n % 5 === 4 ? 300_000 : (lengths[n % lengths.length] as number);
          session.run({ until: session.now + ticks });
        }
        expect(outcome(session)).toEqual(whole[technique]);
      }),
      { numRuns: 8 },
    );
  });

  test("single steps and looks at the guest change nothing", () => {
    const session = sessionOf(technique, CONVERSATION);
    for (let n = 0; n < 400 && session.end === null; n++) {
      session.run({ until: FOREVER, step: true });
      session.machine.technique.inspectCpu();
    }
    session.run({ until: FOREVER });
    expect(outcome(session)).toEqual(whole[technique]);
  });

  test("breakpoints stop before the instruction, every time, and change nothing", () => {
    const session = sessionOf(technique, CONVERSATION);
    const breakpoints = new Set([SYMBOL.command]);
    const stops: number[] = [];
    for (;;) {
      const end = session.run({ until: FOREVER, breakpoints });
      if (end?.kind !== "breakpoint") break;
      stops.push(end.eip);
      session.run({ until: FOREVER, step: true });
      if (end.eip !== SYMBOL.command) continue;
      // The next one, in the middle of a block.
      breakpoints.add(processorOf(session.machine).eip);
    }
    // "keys" and "exit" are commands.
    const [, second] = breakpoints;
    expect(second).not.toBe(SYMBOL.command);
    expect(stops).toEqual([SYMBOL.command, second, SYMBOL.command, second]);
    expect(outcome(session)).toEqual(whole[technique]);
  });

  test("a guest that sleeps for input is woken by it, however late", () => {
    const session = sessionOf(technique);
    expect(session.run({ until: FOREVER })).toMatchObject({ kind: "dead-halt", asleep: true });
    session.sendSerial([...Buffer.from("me\n")]);
    expect(session.run({ until: FOREVER })).toMatchObject({ kind: "dead-halt", asleep: true });
    expect(session.serial).toBe("login: me\r\nhello, me\r\n# ");
  });

  test("input reaches a guest that only computes", () => {
    const session = sessionOf(technique, [expects("login: "), sends("x\n"), expects("# "), sends("spin\n")]);
    expect(session.run({ until: session.now + 20_000_000 * TICKS_PER_CYCLE })).toBeNull();
    const before = interrupts(session);
    session.sendSerial([0x41]);
    session.run({ until: session.now + 1_000_000 * TICKS_PER_CYCLE });
    expect(interrupts(session)).toBe(before + 1);
  });

  test("what a debugger changes of the processor is what the guest goes on with", () => {
    const session = sessionOf(technique, [expects("login: "), sends("x\n"), expects("# "), sends("fail\n")]);
    session.run({ until: FOREVER, breakpoints: new Set([SYMBOL.command]) });
    const { technique: under } = session.machine;
    const state = new CpuState();
    state.restore(under.inspectCpu().cpu);
    // Return at once, as if the command had been empty.
    const stack = state.get(GPR.esp);
    const bytes = new Uint8Array(4);
    under.readGuest(stack, bytes);
    const cells: [number, number][] = [
      [CELL.rip, new DataView(bytes.buffer).getUint32(0, true)],
      [GPR.esp, stack + 4],
      [GPR.eax, 77],
    ];
    under.changeCpu(new Map(cells));
    const after = new CpuState();
    after.restore(under.inspectCpu().cpu);
    for (const [cell, value] of cells) expect(after.get(cell)).toBe(value);
    expect(session.run({ until: FOREVER })).toMatchObject({ kind: "dead-halt", asleep: true });
    expect(session.serial).toMatch(/# fail\r\n# $/);
  });

  test("a script's end is an end of its own", () => {
    const session = sessionOf(technique, [expects("login: "), { kind: "quit" }]);
    expect(session.run({ until: FOREVER })).toEqual({ kind: "quit" });
    expect(session.serial).toBe("login: ");
  });
});

describe.each(TECHNIQUES)("a boot sector under %s, in real mode", (technique) => {
  const bootSector = () =>
    new Session(
      requestFor(technique, {
        image: readImage(join(IMAGES_FOLDER, "boot-sector.img")),
        guestMemoryBytes: 16 * 2 ** 20,
      }),
    );

  test("runs in pieces and stops at breakpoints, and neither changes anything", () => {
    const alone = bootSector();
    alone.run({ until: FOREVER });
    const session = bootSector();
    expect(session.run({ until: FOREVER, breakpoints: new Set([0x7c00]) })).toMatchObject({
      kind: "breakpoint",
      cs: 0,
    });
    const state = processorOf(session.machine);
    expect([modeText(state), state.eip]).toEqual(["real mode", 0x7c00]);
    for (let n = 0; n < 300; n++) session.run({ until: FOREVER, step: true });
    for (let ticks = 1e6; session.end === null; ticks = (ticks * 7) % 30_000_001) {
      session.run({ until: session.now + ticks });
    }
    expect(session.serial).toBe(alone.serial);
    expect(outcome(session)).toEqual(outcome(alone));
  });
});

function interrupts(session: Session): number {
  const bytes = new Uint8Array(4);
  session.machine.technique.readGuest(SYMBOL.interrupts, bytes);
  return new DataView(bytes.buffer).getUint32(0, true);
}

describe("texts of scripts", () => {
  test.each([
    ["root\\n", "root\n"],
    ["\\x41\\e[0m\\\\", "A\u001b[0m\\"],
    ["\\q", null],
    ["\\", null],
  ])("%j is %j", (text, meant) => expect(unescaped(text)).toBe(meant));

  test("keys go down in order and up in the opposite one", () => {
    const names = (text: string) => {
      const keys = keysOf(text);
      return "error" in keys ? keys.error : keys.map(({ name, down }) => `${down ? "+" : "-"}${name}`).join(" ");
    };
    expect(names("a<enter>")).toBe("+a -a +enter -enter");
    expect(names("A")).toBe("+left-shift +A -A -left-shift");
    expect(names("<ctrl+alt+delete>")).toBe("+left-control +left-alt +delete -delete -left-alt -left-control");
    expect(names("<lt>")).toBe("+left-shift +< -< -left-shift");
    expect(names("<entr>")).toBe('no key "entr"; did you mean <enter>?');
    expect(names("a<b")).toMatch(/the character itself is <lt>/);
  });
});
