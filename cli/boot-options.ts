/** What `boot` takes beyond other commands, and its script: the one group of options whose order counts. */
import type { Argv } from "yargs";
import { keysOf, type ScriptStep, unescaped } from "../experiments/script.ts";
import { UsageError } from "./options.ts";

const SCRIPT = "Script, in the order given:";
const LOOK = "What to see of it:";

/** The options of a boot; groups are what `--help` shows them under. */
export function bootOptions<T>(y: Argv<T>) {
  const text = { type: "string", array: true, requiresArg: true, group: SCRIPT } as const;
  return y
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
