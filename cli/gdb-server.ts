/** `--gdb`: GDB's remote protocol on a TCP port. One debugger at a time; the guest waits for the first. */
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { PacketReader } from "../experiments/gdb/packets.ts";
import { GdbStub } from "../experiments/gdb/stub.ts";
import { modeText, placeText, processorOf, registerLines, systemLines } from "../experiments/inspect.ts";
import { Problem } from "../experiments/problem.ts";
import type { Session } from "../experiments/session.ts";
import { UsageError } from "./options.ts";
import { screenTo } from "./screen.ts";
import { placeLines } from "./summary.ts";

const DEFAULT = { host: "localhost", port: 1234 } as const;

/** Where `--gdb` says to listen: nothing, `1234`, `:1234`, `host:1234`; port 0 is any that is free. */
export function gdbAddress(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:(?:([^:]*):)?(\d+))?$/.exec(text);
  const port = match?.[2] === undefined ? DEFAULT.port : Number(match[2]);
  if (match === null || port > 65535) throw new UsageError(`--gdb takes a port, :port or host:port, not "${text}"`);
  return { host: match[1] || DEFAULT.host, port };
}

export interface GdbServer {
  readonly stub: GdbStub;
  /** Where it listens, as GDB takes it. */
  readonly address: string;
  close(): void;
}

/** Begins to listen. Rejects with a Problem (`bad-output`) when the port is not to be had. */
export async function serveGdb(session: Session, text: string): Promise<GdbServer> {
  const { host, port } = gdbAddress(text);
  let socket: Socket | null = null;
  const stub = new GdbStub(session, {
    send: (data) => void socket?.write(data, "latin1"),
    monitor: (command) => monitor(session, command),
  });
  const server = createServer((connection) => {
    if (socket !== null) {
      connection.destroy();
      return;
    }
    socket = connection;
    connection.setNoDelay(true);
    const reader = new PacketReader();
    stub.attach();
    connection.on("data", (bytes) => {
      for (const incoming of reader.read(bytes)) {
        if (incoming.kind === "packet") stub.packet(incoming.data);
        else if (incoming.kind === "interrupt") stub.interrupt();
        else if (incoming.kind === "again") stub.again();
        else stub.damaged();
      }
    });
    connection.on("error", () => undefined);
    connection.on("close", () => {
      socket = null;
      if (!stub.killed) stub.detach();
    });
  });
  await listening(server, host, port);
  return {
    stub,
    address: `${host}:${(server.address() as AddressInfo).port}`,
    close() {
      // Sends what is still to be sent, and does not wait for the other side to hang up.
      socket?.destroySoon();
      server.close();
    },
  };
}

function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(new Problem("bad-output", `--gdb: cannot listen on ${host}:${port} (${error.code})`)),
    );
    server.listen(port, host, resolve);
  });
}

const HELP = `info    where the guest is, its mode, the last instructions
regs    registers with hidden parts, control and debug registers
screen  the text screen
serial TEXT  send text and a line end to the serial console
`;

/** GDB's `monitor` commands. */
function monitor(session: Session, command: string): string | null {
  const { machine } = session;
  const state = processorOf(machine);
  const [name, ...rest] = command.split(" ");
  switch (name) {
    case "help":
    case "":
      return HELP;
    case "info":
      return `${placeLines(machine).join("\n")}\n`;
    case "regs":
      return `${[`${placeText(state)}, ${modeText(state)}`, ...registerLines(state), ...systemLines(state)].join("\n")}\n`;
    case "screen":
      return screenTo(machine, undefined);
    case "serial":
      session.sendSerial([...Buffer.from(`${rest.join(" ")}\n`, "utf8")]);
      return "";
    default:
      return null;
  }
}
