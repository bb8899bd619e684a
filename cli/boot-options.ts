/** What `boot` takes beyond other commands, and its script: the one group of options whose order counts. */
import type { Argv } from "yargs";
import { keysOf, type ScriptStep, unescaped } from "../experiments/script.ts";
import { UsageError } from "./options.ts";

const WITH = "What goes with the image:";
const SCRIPT = "Script, in the order given:";
const LOOK = "What to see of it:";

/** The options of a boot; groups are what `--help` shows them under. */
export function bootOptions<T>(y: Argv<T>) {
  const file = { type: "string", requiresArg: true, group: WITH } as const;
  const files = { ...file, array: true, nargs: 1 } as const;
  const moment = { type: "string", requiresArg: true, group: LOOK } as const;
  const text = { type: "string", array: true, nargs: 1, requiresArg: true, group: SCRIPT } as const;
  return y
    .option("append", { ...file, describe: "command line of a kernel, behind what --param gives" })
    .option("initrd", { ...file, describe: "initial RAM disk of a Linux kernel" })
    .option("module", { ...files, describe: 'module of a multiboot kernel: "FILE arguments"; repeatable' })
    .option("disk", { ...files, describe: "IDE disk beside the image; never modified; four in all" })
    .option("echo-screen", {
      type: "boolean",
      group: WITH,
      describe: "what is printed by the BIOS goes to the serial console, too",
    })
    .option("expect", { ...text, describe: "wait for this text on the serial console" })
    .option("expect-screen", { ...text, describe: "wait for this text on the screen" })
    .option("send", { ...text, describe: "send this text to the serial console; \\n \\r \\t \\e \\xHH \\\\" })
    .option("send-keys", { ...text, describe: "type on the keyboard: ls<enter>, <ctrl+c>, <f1>, <lt> for <" })
    .option("quit", { type: "boolean", group: SCRIPT, describe: "end the run, with status 0" })
    .option("stdin", { type: "boolean", group: SCRIPT, describe: "send what is piped in, after the script" })
    .option("screen", {
      type: "string",
      group: LOOK,
      describe: "show the screen at the end: as text here, or in FILE.txt or FILE.png",
    })
    .option("trace-instructions", {
      type: "string",
      requiresArg: true,
      group: LOOK,
      describe: "write a line for every instruction to this file",
    })
    .option("trace-from", { ...moment, describe: "from: address (0x...), cycles, or time (10ms) [default: the start]" })
    .option("trace-to", { ...moment, describe: "up to: address, cycles or time [default: the end]" })
    .option("trace-count", { ...moment, describe: "lines at most [default: 1e6]" })
    .option("gdb", {
      type: "string",
      group: LOOK,
      describe: "wait for a debugger: port, :port or host:port [localhost:1234]",
    })
    .option("debugcon", {
      type: "string",
      requiresArg: true,
      group: LOOK,
      describe: "write what the guest sent to port E9h to this file; - for standard output",
    });
}

const SCRIPT_OPTIONS = ["expect", "expect-screen", "send", "send-keys", "quit"] as const;
type ScriptOption = (typeof SCRIPT_OPTIONS)[number];

/** The script on a command line that yargs has accepted: it does not tell the order of different options. */
export function scriptOf(argv: readonly string[]): readonly ScriptStep[] {
  const steps: ScriptStep[] = [];
  for (let at = 0; at < argv.length; at++) {
    const [, name, value] = /^--([a-z-]+)(?:=(.*))?$/s.exec(argv[at] as string) ?? [];
    if (!SCRIPT_OPTIONS.includes(name as ScriptOption)) continue;
    if (name === "quit") steps.push({ kind: "quit" });
    else steps.push(step(name as ScriptOption, value ?? argv[++at] ?? ""));
  }
  return steps;
}

function step(option: ScriptOption, value: string): ScriptStep {
  if (option === "send-keys") {
    const keys = keysOf(value);
    if ("error" in keys) throw new UsageError(`--send-keys "${value}": ${keys.error}`);
    return { kind: "send-keys", keys };
  }
  const text = unescaped(value);
  if (text === null) throw new UsageError(`--${option} "${value}": after \\ comes n, r, t, e, 0, xHH or \\`);
  if (text === "") throw new UsageError(`--${option} takes a text`);
  if (option === "send") return { kind: "send", bytes: [...Buffer.from(text, "utf8")] };
  if (option === "expect-screen") return { kind: "expect-screen", text };
  // The serial port has bytes: what is waited for is compared byte by byte.
  return { kind: "expect", text: Buffer.from(text, "utf8").toString("latin1") };
}
