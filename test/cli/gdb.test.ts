// The GDB stub: the protocol over a socket in plain Node, and GDB itself where it is installed.
import { spawn, spawnSync } from "node:child_process";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { type GdbServer, gdbAddress, serveGdb } from "../../cli/gdb-server.ts";
import { PacketReader, packet } from "../../experiments/gdb/packets.ts";
import { readImage } from "../../experiments/images.ts";
import { IMAGES_FOLDER } from "../../experiments/paths.ts";
import type { ScriptStep } from "../../experiments/script.ts";
import type { Session } from "../../experiments/session.ts";
import type { SimulationRequest } from "../../experiments/simulate.ts";
import { CONSOLE_GUEST, expects, SYMBOL, sends, sessionOf } from "./guest.ts";

const TALK: readonly ScriptStep[] = [
  ...[expects("login: "), sends("bob\n"), expects("# "), sends("foo\n"), expects("# "), sends("exit\n")],
];

/** A debugger that speaks the protocol by hand; the guest runs while it waits for an answer. */
class Debugger {
  readonly #socket: Socket;
  readonly #server: GdbServer;
  readonly #session: Session;
  readonly #reader = new PacketReader();
  readonly #arrived: string[] = [];

  constructor(socket: Socket, server: GdbServer, session: Session) {
    this.#socket = socket;
    this.#server = server;
    this.#session = session;
    socket.on("data", (bytes) => {
      for (const incoming of this.#reader.read(bytes)) {
        if (incoming.kind === "packet") this.#arrived.push(incoming.data);
      }
    });
  }

  write(text: string): void {
    this.#socket.write(text, "latin1");
  }

  /** Sends a packet and gives its answer. */
  async ask(data: string): Promise<string> {
    this.write(packet(data));
    return this.answer();
  }

  async answer(): Promise<string> {
    for (let turns = 0; this.#arrived.length === 0; turns++) {
      if (turns > 20_000) throw new Error("no answer");
      this.#server.stub.advance(this.#session.now + 1_000_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return this.#arrived.shift() as string;
  }

  async eip(): Promise<number> {
    return Buffer.from(await this.ask("p8"), "hex").readUInt32LE();
  }
}

let close: () => void = () => undefined;
afterEach(() => close());

async function debug(technique: string, script: readonly ScriptStep[] = TALK, more: Partial<SimulationRequest> = {}) {
  const session = sessionOf(technique, script, more);
  const server = await serveGdb(session, "localhost:0");
  const port = Number(server.address.split(":")[1]);
  const socket = createConnection({ port, host: "localhost" });
  await new Promise((resolve) => socket.once("connect", resolve));
  close = () => {
    socket.destroy();
    server.close();
  };
  return { session, server, socket, gdb: new Debugger(socket, server, session) };
}

const hex = (value: number): string => value.toString(16);

test("--gdb takes a port, :port, host:port or nothing", () => {
  expect(gdbAddress("")).toEqual({ host: "localhost", port: 1234 });
  expect(gdbAddress(":5")).toEqual({ host: "localhost", port: 5 });
  expect(gdbAddress("7")).toEqual({ host: "localhost", port: 7 });
  expect(gdbAddress("0.0.0.0:9")).toEqual({ host: "0.0.0.0", port: 9 });
  expect(() => gdbAddress("x:y")).toThrow('--gdb takes a port, :port or host:port, not "x:y"');
});

test("packets are found in a stream however it is cut, escapes and interrupts too", () => {
  const stream = Buffer.from(`+${packet("a#}$*b")}\u0003$zz#00-`, "latin1");
  for (const size of [1, 2, 3, 100]) {
    const reader = new PacketReader();
    const arrived = [];
    for (let at = 0; at < stream.length; at += size) arrived.push(...reader.read(stream.subarray(at, at + size)));
    expect(arrived).toEqual([
      { kind: "packet", data: "a#}$*b" },
      { kind: "interrupt" },
      { kind: "damaged" },
      { kind: "again" },
    ]);
  }
});

describe.each(["native", "vtx"])("a debugger of a guest under %s", (technique) => {
  test("finds it before its first instruction, and its description", async () => {
    const { gdb, session } = await debug(technique);
    expect(await gdb.ask("?")).toBe("T05thread:1;");
    expect(await gdb.ask("qSupported:multiprocess+")).toMatch(/^PacketSize=4000;qXfer:features:read\+/);
    expect(await gdb.ask("qXfer:features:read:target.xml:0,ffff")).toMatch(/^l<\?xml.*org\.gnu\.gdb\.i386\.core/s);
    expect(await gdb.ask("qXfer:features:read:target.xml:0,10")).toBe('m<?xml version="1');
    expect(await gdb.eip()).toBe(processorEntry(session));
  });

  test("stops at breakpoints, steps, and sees the end", async () => {
    const { gdb } = await debug(technique);
    expect(await gdb.ask(`Z0,${hex(SYMBOL.command)},1`)).toBe("OK");
    expect(await gdb.ask("c")).toBe("T05thread:1;");
    expect(await gdb.eip()).toBe(SYMBOL.command);
    // Going on from a breakpoint goes past it: the next stop is the next command.
    expect(await gdb.ask("s")).toBe("T05thread:1;");
    expect(await gdb.eip()).toBe(SYMBOL.command + 3);
    expect(await gdb.ask("vCont;c:1")).toBe("T05thread:1;");
    expect(await gdb.eip()).toBe(SYMBOL.command);
    expect(await gdb.ask(`z0,${hex(SYMBOL.command)},1`)).toBe("OK");
    expect(await gdb.ask("c")).toBe("W00");
  });

  test("leaves a guest that it only watched as it would have been", async () => {
    const alone = sessionOf(technique, TALK);
    alone.run({ until: Number.POSITIVE_INFINITY });
    const { gdb, session } = await debug(technique);
    await gdb.ask(`Z1,${hex(SYMBOL.command)},1`);
    for (let n = 0; n < 2; n++) {
      expect(await gdb.ask("c")).toBe("T05thread:1;");
      await gdb.ask("g");
      await gdb.ask("m100000,100");
      await gdb.ask("s");
    }
    expect(await gdb.ask("c")).toBe("W00");
    expect(session.now).toBe(alone.now);
    expect(session.serial).toBe(alone.serial);
  });

  test("reads and writes registers and memory", async () => {
    const { gdb } = await debug(technique);
    await gdb.ask(`Z1,${hex(SYMBOL.command)},1`);
    await gdb.ask("c");
    expect(await gdb.ask("M90000,4:01020304")).toBe("OK");
    // Binary data; packets escape what they must.
    expect(await gdb.ask("X90004,2:#}")).toBe("OK");
    expect(await gdb.ask("m90000,6")).toBe("01020304237d");
    expect(await gdb.ask("mf0000000,4")).toBe("E14");
    expect(await gdb.ask("P0=78563412")).toBe("OK");
    expect(await gdb.ask("p0")).toBe("78563412");
    expect((await gdb.ask("g")).slice(0, 8)).toBe("78563412");
    // CS cannot be written; EIP can.
    expect(await gdb.ask("Pa=10000000")).toBe("E01");
    expect(await gdb.ask("P8=00000900")).toBe("OK");
    expect(await gdb.eip()).toBe(0x90000);
    expect(await gdb.ask("p7f")).toBe("E01");
  });

  test("watches a variable", async () => {
    const { gdb } = await debug(technique);
    expect(await gdb.ask(`Z2,${hex(SYMBOL.interrupts)},4`)).toBe("OK");
    expect(await gdb.ask("c")).toBe(`T05watch:${hex(SYMBOL.interrupts)};thread:1;`);
    expect(await gdb.ask(`m${hex(SYMBOL.interrupts)},4`)).toBe("01000000");
    expect(await gdb.ask(`Z3,${hex(SYMBOL.interrupts)},4`)).toBe("");
  });

  test("interrupts a guest that computes for ever, and asks it things", async () => {
    const spin = [expects("login: "), sends("x\n"), expects("# "), sends("spin\n"), expects("spin\r\n")];
    const { gdb, session, server } = await debug(technique, spin);
    gdb.write(packet("c"));
    while (session.script.step !== undefined) {
      server.stub.advance(session.now + 1_000_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    server.stub.advance(session.now + 10_000_000);
    gdb.write("\u0003");
    expect(await gdb.answer()).toBe("T02thread:1;");
    const monitor = async (command: string) =>
      Buffer.from(await gdb.ask(`qRcmd,${Buffer.from(command).toString("hex")}`), "hex").toString();
    expect(await monitor("info")).toMatch(/^at 0008:001\w{5}, 32-bit protected mode, CPL 0\n(.*\n)*=> .* jmp short/);
    expect(await monitor("regs")).toMatch(/idtr base 00\w{6} {2}limit 017f/);
    expect(await monitor("screen")).toMatch(/\|console guest/);
    expect(await monitor("nonsense")).toMatch(/no such command: nonsense/);
  });

  test("sees where a guest ended that ended badly", async () => {
    const { gdb } = await debug(technique, [expects("login: "), sends("x\n"), expects("# "), sends("triple\n")]);
    expect(Buffer.from((await gdb.ask("c")).slice(1), "hex").toString()).toMatch(/^ringlab: triple-fault: /);
    expect(await gdb.answer()).toBe("T0bthread:1;");
    expect(await gdb.eip()).toBeGreaterThan(0x100000);
  });

  test("sees a guest in real mode as 16-bit code at linear addresses, from the reset vector on", async () => {
    const image = readImage(join(IMAGES_FOLDER, "boot-sector.img"));
    const { gdb } = await debug(technique, [], { image, guestMemoryBytes: 16 * 2 ** 20 });
    expect(await gdb.ask("qXfer:features:read:target.xml:0,ffff")).toContain("<architecture>i8086</architecture>");
    expect(await gdb.eip()).toBe(0xfffffff0);
    // JMP FAR to the BIOS.
    expect(await gdb.ask("mfffffff0,5")).toMatch(/^ea....00f0$/);
    await gdb.ask("Z0,7c00,1");
    expect(await gdb.ask("c")).toBe("T05thread:1;");
    expect(await gdb.eip()).toBe(0x7c00);
    expect(await gdb.ask("s")).toBe("T05thread:1;");
    expect(await gdb.eip()).toBe(0x7c05);
  }, 30_000);

  test("may send anything", async () => {
    const { gdb, server } = await debug(technique);
    const verbs = [
      "?",
      "g",
      "G",
      "p",
      "P",
      "m",
      "M",
      "X",
      "s",
      "S",
      "Z0",
      "z1",
      "Z2",
      "vCont;s",
      "qRcmd,",
      "qXfer:features:read:target.xml:",
    ];
    const sent = fc.tuple(
      fc.constantFrom(...verbs),
      fc.string({ maxLength: 12, unit: fc.constantFrom(..."0159af,:;=-z") }),
    );
    for (const [verb, rest] of fc.sample(sent, { numRuns: 300, seed: 7 })) server.stub.packet(verb + rest);
    expect(await gdb.ask("!")).toBeDefined();
  });

  test("lets it go on when it detaches, and ends the run when it kills", async () => {
    const first = await debug(technique);
    expect(await first.gdb.ask("D")).toBe("OK");
    expect(first.server.stub.advance(Number.POSITIVE_INFINITY)).toEqual({ kind: "exit", status: 0 });
    close();
    const second = await debug(technique);
    expect(await second.gdb.ask("vKill;1")).toBe("OK");
    expect(second.server.stub.killed).toBe(true);
  });
});

function processorEntry(session: Session): number {
  return session.machine.technique.inspectCpu().cpu[32] as number;
}

const program = "gdb";
const hasGdb = spawnSync(program, ["--version"]).status === 0;

describe.skipIf(!hasGdb).each(["native", "vtx"])("GDB itself, of a guest under %s", (technique) => {
  test("knows symbols, steps over calls, backtraces, and prints what we print", async () => {
    const session = sessionOf(technique, TALK);
    const server = await serveGdb(session, "localhost:0");
    close = () => server.close();
    const commands = [
      `target remote ${server.address}`,
      ...["break command", "continue", "info symbol $pc", "stepi", "print/x $eip", "p (int)interrupts"],
      ...["p/x $mxcsr", "p $xmm0.v4_int32", "p $st0"],
      ...["watch *(int*)&interrupts", "continue", "delete", "hbreak command", "continue", "monitor regs", "continue"],
    ];
    const gdb = spawn(program, ["-nx", "-batch", ...commands.flatMap((each) => ["-ex", each]), CONSOLE_GUEST]);
    let out = "";
    gdb.stdout.on("data", (data) => {
      out += data;
    });
    gdb.stderr.on("data", (data) => {
      out += data;
    });
    let running = true;
    gdb.on("close", () => {
      running = false;
    });
    while (running) {
      server.stub.advance(session.now + 1_000_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(out).toMatch(/Breakpoint 1, 0x0*100176 in command \(\)/);
    expect(out).toContain("command in section .text");
    expect(out).toMatch(/\$1 = 0x100179/);
    expect(out).toMatch(/\$2 = 2\n/);
    expect(out).toMatch(/\$3 = 0x1f80\n\$4 = \{0, 0, 0, 0\}\n\$5 = 0\n/);
    expect(out).toMatch(/Old value = 2\s+New value = 3/);
    expect(out).toMatch(/Breakpoint 3, .*command/);
    expect(out).toContain("0008:00100176, 32-bit protected mode, CPL 0");
    expect(out).toContain("exited normally");
  }, 60_000);
});
