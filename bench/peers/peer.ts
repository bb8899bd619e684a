/** A simulator beside ours: how it starts a multiboot image, and how its run is timed. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";

export interface PeerGuest {
  /** File of the multiboot image. */
  readonly image: string;
  readonly commandLine: string;
  readonly memoryMb: number;
  /** A folder of its own for what the peer needs. */
  readonly folder: string;
}

export interface PeerProcess {
  readonly command: string;
  readonly args: readonly string[];
  /** Where the guest's serial output goes: a file, or standard output. */
  readonly serial?: string;
}

export interface Peer {
  readonly name: string;
  /** What of the machine's time it counts. */
  readonly counts: string;
  /** Its version; or why it cannot run here. */
  present(): { readonly version: string } | { readonly absent: string };
  start(guest: PeerGuest): PeerProcess;
}

export interface PeerRun {
  /** From the start of the process to the guest's last line. */
  readonly seconds: number;
  /** The guest's output, without lines that tell the time. */
  readonly lines: string;
}

const LAST_LINE = /^exit \d+$/m;
const POLL_MS = 5;

/** Runs a process until the guest has said `exit`, then ends it. Rejects when it ends before, or takes too long. */
export function runPeer({ command, args, serial }: PeerProcess, seconds: number): Promise<PeerRun> {
  if (serial !== undefined) rmSync(serial, { force: true });
  return new Promise((resolve, reject) => {
    const begin = performance.now();
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let complaint = "";
    let over = false;
    const finish = (error?: string) => {
      if (over) return;
      const took = (performance.now() - begin) / 1e3;
      over = true;
      clearInterval(poll);
      clearTimeout(limit);
      child.kill("SIGKILL");
      if (error === undefined) resolve({ seconds: took, lines: timelessLines(output) });
      else reject(new Error(`${error}: ${(output + complaint).trim().split("\n").slice(-3).join(" | ")}`));
    };
    const look = () => {
      if (serial !== undefined && existsSync(serial)) output = readFileSync(serial, "latin1");
      if (LAST_LINE.test(output.replaceAll("\r", ""))) finish();
    };
    const poll = setInterval(() => serial !== undefined && look(), POLL_MS);
    const limit = setTimeout(() => finish(`not done after ${seconds} s`), seconds * 1e3);
    child.stdout.on("data", (data: Buffer) => {
      if (serial !== undefined) return;
      output += data.toString("latin1");
      look();
    });
    child.stderr.on("data", (data: Buffer) => {
      complaint += data.toString("latin1");
    });
    child.on("error", (error) => finish(error.message));
    child.on("close", (status) => {
      look();
      finish(`ended with ${status}`);
    });
  });
}

/** Lines up to the guest's `exit`, but those that begin `t:`. */
export function timelessLines(output: string): string {
  const lines = output.replaceAll("\r", "").split("\n");
  const last = lines.findIndex((line) => LAST_LINE.test(line));
  return lines
    .slice(0, last + 1)
    .filter((line) => !line.startsWith("t:"))
    .join("\n");
}

/** The first line of a program's standard output; undefined when there is no such program. */
export function firstLine(command: string, args: readonly string[]): string | undefined {
  const { stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  return error === undefined ? `${stdout}${stderr}`.trim().split("\n")[0] : undefined;
}
