/**
 * GDB's remote serial protocol (GDB manual, appendix E) over a session: one thread, all-stop. Breakpoints are the core's
 * (RunLimits.breakpoints), so guest memory is never patched and both kinds, Z0 and Z1, are the same; a write watchpoint
 * (Z2) compares its bytes after every instruction. Addresses are linear and go through the guest's page tables,
 * whatever they permit.
 *
 * Left out: read and access watchpoints, writing of segment, x87 and system registers, reverse execution.
 */
import type { RunEnd } from "../../sim/result.ts";
import { processorOf, readLinear, writeLinear } from "../inspect.ts";
import type { Session } from "../session.ts";
import { fromHex, packet, toHex } from "./packets.ts";
import { allRegisters, oneRegister, registerWrite, targetDescription, WRITABLE_REGISTERS } from "./registers.ts";

/** Bytes that a packet may have. */
const PACKET_BYTES = 0x4000;
/** Signals as GDB numbers them: what a stop is told as. */
const SIGNAL = { interrupt: 2, trap: 5, segmentationFault: 11 } as const;
const THREAD = "thread:1;";
const FOREVER = Number.POSITIVE_INFINITY;
/** Bytes of a watchpoint. */
const MOST_WATCHED = 64;
/** Single steps between two looks at the clock, while something is watched. */
const WATCHED_STEPS = 2000;

interface Watchpoint {
  readonly address: number;
  readonly length: number;
  bytes: string;
}

/** What the stub asks of the command that it belongs to. */
export interface StubHost {
  /** Sends bytes (a character each) to the debugger. */
  send(text: string): void;
  /** `monitor` commands; null when there is none of this name. */
  monitor(command: string): string | null;
}

/** How the guest's end looks to a debugger: gone, or stopped for good where it can be looked at. */
export type StubEnd = RunEnd | { readonly kind: "quit" };

export class GdbStub {
  readonly #session: Session;
  readonly #host: StubHost;
  readonly #breakpoints = new Set<number>();
  #watchpoints: Watchpoint[] = [];
  #running = false;
  /** The guest runs, and sleeps until input comes. */
  #asleep = false;
  #attached = false;
  #killed = false;
  #acknowledges = true;
  #lastSent = "";
  #lastStop = `T05${THREAD}`;
  /** The guest has ended; a debugger may still look at it. */
  #end: StubEnd | null = null;

  /** A guest that waits for a debugger. */
  constructor(session: Session, host: StubHost) {
    this.#session = session;
    this.#host = host;
  }

  /** Whether nothing happens until a debugger or an input comes. */
  get waits(): boolean {
    return !this.#running || this.#asleep;
  }

  /** Whether the debugger has ended the run. */
  get killed(): boolean {
    return this.#killed;
  }

  /** How the guest ended, when no debugger looks at it any more. */
  get end(): StubEnd | null {
    return this.#attached ? null : this.#end;
  }

  /** A debugger has connected: a running guest stops for it. */
  attach(): void {
    this.#attached = true;
    this.#acknowledges = true;
    this.#running = false;
    this.#lastStop = `T05${THREAD}`;
  }

  /** The debugger has gone: the guest goes on without it. */
  detach(): void {
    this.#attached = false;
    this.#breakpoints.clear();
    this.#watchpoints = [];
    this.#running = this.#end === null;
  }

  /** 03h has come. */
  interrupt(): void {
    if (this.#running) this.#stopped(`T${byte(SIGNAL.interrupt)}${THREAD}`);
  }

  /** The last packet once more. */
  again(): void {
    this.#host.send(this.#lastSent);
  }

  /** A packet with a wrong checksum has come. */
  damaged(): void {
    if (this.#acknowledges) this.#host.send("-");
  }

  /** A packet has come. */
  packet(data: string): void {
    if (this.#acknowledges) this.#host.send("+");
    const reply = this.#answer(data);
    if (reply !== null) this.#reply(reply);
  }

  /** Runs a running guest on, to `until` at the latest; tells the debugger when it stops. Returns its end. */
  advance(until: number): StubEnd | null {
    if (!this.#running) return this.end;
    const end = this.#watchpoints.length > 0 ? this.#watch(until) : this.#run(until);
    this.#asleep = end?.kind === "dead-halt" && end.asleep === true;
    // Someone may still wake it: the debugger.
    if (end === null || (this.#asleep && this.#attached)) return null;
    if (end.kind === "breakpoint") this.#stopped(`T${byte(SIGNAL.trap)}${THREAD}`);
    else this.#ended(end);
    return this.end;
  }

  #run(until: number): StubEnd | null {
    return this.#session.run({ until, breakpoints: this.#breakpoints });
  }

  /** Instruction by instruction, with a comparison after each. */
  #watch(until: number): StubEnd | null {
    for (let n = 0; n < WATCHED_STEPS && this.#session.now < until; n++) {
      const end = this.#session.run({ until, step: true, breakpoints: this.#breakpoints });
      if (end !== null) return end;
      const changed = this.#watchpoints.find((watched) => this.#look(watched) !== watched.bytes);
      if (changed === undefined) continue;
      changed.bytes = this.#look(changed);
      this.#stopped(`T${byte(SIGNAL.trap)}watch:${changed.address.toString(16)};${THREAD}`);
      return null;
    }
    return null;
  }

  #look({ address, length }: Watchpoint): string {
    const { machine } = this.#session;
    return toHex(readLinear(machine, processorOf(machine), address, length));
  }

  #stopped(reply: string): void {
    this.#running = false;
    this.#lastStop = reply;
    if (this.#attached) this.#reply(reply);
  }

  /** An exit is one to a debugger, too; where a guest ended badly it can be looked at. */
  #ended(end: StubEnd): void {
    this.#end = end;
    if (end.kind === "exit") this.#stopped(`W${byte(end.status & 0xff)}`);
    else if (end.kind === "quit") this.#stopped("W00");
    else {
      const detail = "detail" in end ? `: ${end.detail}` : "";
      if (this.#attached) this.#reply(`O${Buffer.from(`ringlab: ${end.kind}${detail}\n`).toString("hex")}`);
      this.#stopped(`T${byte(SIGNAL.segmentationFault)}${THREAD}`);
    }
  }

  #reply(data: string): void {
    this.#lastSent = packet(data);
    this.#host.send(this.#lastSent);
  }

  /** The answer to a packet: "" where it is not supported, null where none is due (yet). */
  #answer(data: string): string | null {
    const rest = data.slice(1);
    switch (data[0]) {
      case "?":
        return this.#lastStop;
      case "g":
        return allRegisters(this.#state());
      case "G":
        return this.#writeAll(rest);
      case "p":
        return oneRegister(this.#state(), Number.parseInt(rest, 16)) ?? "E01";
      case "P":
        return this.#writeRegister(rest);
      case "m":
        return this.#readMemory(rest);
      case "M":
        return this.#writeMemory(rest, fromHex);
      case "X":
        return this.#writeMemory(rest, (binary) => Uint8Array.from(Buffer.from(binary, "latin1")));
      case "c":
      case "C":
        return this.#resume(rest, data[0] === "C", false);
      case "s":
      case "S":
        return this.#resume(rest, data[0] === "S", true);
      case "Z":
      case "z":
        return this.#point(data[0] === "Z", rest);
      case "H":
      case "T":
        return "OK";
      case "D":
        this.#reply("OK");
        this.detach();
        return null;
      case "k":
        this.#kill();
        return null;
      case "v":
        return this.#verbose(data);
      case "q":
      case "Q":
        return this.#query(data);
      default:
        return "";
    }
  }

  #state() {
    return processorOf(this.#session.machine);
  }

  #kill(): void {
    this.#attached = false;
    this.#running = false;
    this.#killed = true;
  }

  #writeAll(text: string): string {
    const bytes = fromHex(text);
    if (bytes === null) return "E01";
    const view = new DataView(bytes.buffer);
    const state = this.#state();
    const cells = new Map<number, number>();
    for (let n = 0; n < WRITABLE_REGISTERS && n * 4 + 4 <= bytes.length; n++) {
      const write = registerWrite(state, n, view.getUint32(n * 4, true));
      if (write !== null) cells.set(...write);
    }
    this.#session.machine.technique.changeCpu(cells);
    return "OK";
  }

  #writeRegister(text: string): string {
    const [n, value] = text.split("=");
    const bytes = fromHex(value ?? "");
    if (bytes === null || bytes.length !== 4) return "E01";
    const write = registerWrite(
      this.#state(),
      Number.parseInt(n as string, 16),
      new DataView(bytes.buffer).getUint32(0, true),
    );
    if (write === null) return "E01";
    this.#session.machine.technique.changeCpu(new Map([write]));
    return "OK";
  }

  #readMemory(text: string): string {
    const [address, length] = numbers(text);
    if (address === undefined || length === undefined || length < 0) return "E01";
    const bytes = readLinear(this.#session.machine, this.#state(), address >>> 0, Math.min(length, PACKET_BYTES / 2));
    return bytes.length === 0 && length > 0 ? "E14" : toHex(bytes);
  }

  #writeMemory(text: string, decode: (data: string) => Uint8Array | null): string {
    const colon = text.indexOf(":");
    const [address, length] = numbers(text.slice(0, colon));
    const bytes = decode(text.slice(colon + 1));
    if (address === undefined || bytes === null || bytes.length !== length) return "E01";
    return writeLinear(this.#session.machine, this.#state(), address >>> 0, bytes) ? "OK" : "E14";
  }

  /** `c`, `s`, and with a signal, which means nothing to a machine. An address is where to go on. */
  #resume(text: string, signal: boolean, step: boolean): string | null {
    const address = signal ? text.split(";")[1] : text;
    if (address !== undefined && address !== "") {
      const write = registerWrite(this.#state(), EIP, Number.parseInt(address, 16));
      if (write !== null) this.#session.machine.technique.changeCpu(new Map([write]));
    }
    if (this.#end !== null) return this.#lastStop;
    for (const watched of this.#watchpoints) watched.bytes = this.#look(watched);
    if (!step) {
      this.#running = true;
      // Past a breakpoint where the guest stands: it has been told.
      if (!this.#breakpoints.has(this.#eip())) return null;
    }
    const end = this.#session.run({ until: FOREVER, step: true });
    if (end !== null) this.#ended(end);
    else if (step) this.#stopped(`T${byte(SIGNAL.trap)}${THREAD}`);
    return null;
  }

  #eip(): number {
    const text = oneRegister(this.#state(), EIP) as string;
    return Buffer.from(text, "hex").readUInt32LE();
  }

  #point(insert: boolean, text: string): string {
    const [type, address, length = 1] = numbers(text);
    if (address === undefined || length < 1 || length > MOST_WATCHED) return "E01";
    if (type === 0 || type === 1) {
      if (insert) this.#breakpoints.add(address >>> 0);
      else this.#breakpoints.delete(address >>> 0);
      return "OK";
    }
    if (type !== 2) return "";
    this.#watchpoints = this.#watchpoints.filter((each) => each.address !== address || each.length !== length);
    if (insert) this.#watchpoints.push({ address, length, bytes: "" });
    return "OK";
  }

  #verbose(data: string): string | null {
    if (data === "vCont?") return "vCont;c;C;s;S";
    if (data.startsWith("vCont;")) {
      // One thread: the first action is its.
      const action = data.slice(6).split(";")[0] as string;
      return this.#resume("", false, /^[sS]/.test(action));
    }
    if (data.startsWith("vKill")) {
      this.#reply("OK");
      this.#kill();
      return null;
    }
    return "";
  }

  #query(data: string): string | null {
    if (data.startsWith("qSupported")) {
      const features = ["qXfer:features:read+", "vContSupported+", "QStartNoAckMode+", "swbreak-", "hwbreak-"];
      return [`PacketSize=${PACKET_BYTES.toString(16)}`, ...features].join(";");
    }
    if (data === "QStartNoAckMode") {
      this.#reply("OK");
      this.#acknowledges = false;
      return null;
    }
    if (data.startsWith("qXfer:features:read:target.xml:")) {
      const [from, length] = numbers(data.slice(data.lastIndexOf(":") + 1));
      if (from === undefined || length === undefined) return "E01";
      const text = targetDescription(this.#state());
      return `${from + length >= text.length ? "l" : "m"}${text.slice(from, from + length)}`;
    }
    if (data.startsWith("qRcmd,")) return this.#monitor(data.slice(6));
    switch (data) {
      case "qC":
        return "QC1";
      case "qfThreadInfo":
        return "m1";
      case "qsThreadInfo":
        return "l";
      case "qAttached":
        return "1";
      default:
        return "";
    }
  }

  #monitor(hex: string): string {
    const command = Buffer.from(hex, "hex").toString("utf8").trim();
    const text = this.#host.monitor(command) ?? `no such command: ${command}; monitor help lists them\n`;
    return text === "" ? "OK" : Buffer.from(text, "utf8").toString("hex");
  }
}

/** Number of EIP among the registers. */
const EIP = 8;

function numbers(text: string): (number | undefined)[] {
  return text.split(",").map((part) => {
    const value = Number.parseInt(part, 16);
    return Number.isNaN(value) ? undefined : value;
  });
}

function byte(value: number): string {
  return value.toString(16).padStart(2, "0");
}
