/** Options that commands share. Numbers are read by us: yargs would take a misspelt one for NaN. */
import type { Argv } from "yargs";
import type { Choices } from "../experiments/ad-hoc.ts";
import type { Setting } from "../experiments/point.ts";
import { Problem } from "../experiments/problem.ts";
import type { Parameters } from "../experiments/suite-schema.ts";

/** A number on the command line: decimal, 0x..., or 1e9. Throws an error that says what was expected. */
export function numberOf(option: string, text: string, least: number, whole = false): number {
  const value = Number(text.replaceAll("_", ""));
  if (text.trim() === "" || !Number.isFinite(value) || value < least || (whole && !Number.isSafeInteger(value))) {
    throw new UsageError(`--${option} takes a ${whole ? "whole " : ""}number from ${least}, not "${text}"`);
  }
  return value;
}

const UNITS: Readonly<Record<string, number>> = { "": 1, k: 1 / 1024, m: 1, g: 1024 };
/** What a machine can be made with, a monitor's own memory aside. */
const MOST_MEGABYTES = 1900;

/** A size of memory in whole MB: `64`, `64M`, `1G`, `2048K`. */
export function megabytesOf(text: string): number {
  const match = /^(\d+)([kmg]?)b?$/i.exec(text.replaceAll("_", ""));
  const size = Number(match?.[1]) * (UNITS[match?.[2]?.toLowerCase() ?? ""] as number);
  if (match === null || size < 1 || size > MOST_MEGABYTES || !Number.isInteger(size)) {
    throw new UsageError(`--memory takes whole MB from 1 to ${MOST_MEGABYTES}, as 64, 64M or 1G, not "${text}"`);
  }
  return size;
}

/** Wrong use of the command line, in one line. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const whole = (option: string, least: number) => (text: string | undefined) =>
  text === undefined ? undefined : numberOf(option, text, least, true);

/** The processor and technique of a single point. */
export function pointOptions<T>(y: Argv<T>) {
  return y
    .option("profile", { alias: "p", type: "string", default: "pentium4-672", describe: "processor" })
    .option("technique", {
      alias: "t",
      type: "string",
      default: "native",
      describe: "technique, with its memory model where there are several: vtx, vtx+shadow",
    });
}

/** What a guest gets: parameters, memory, time. */
export function guestOptions<T>(y: Argv<T>) {
  return y
    .option("param", {
      type: "string",
      array: true,
      requiresArg: true,
      describe: "command-line parameter of the guest, name=value",
    })
    .option("set", {
      type: "string",
      array: true,
      requiresArg: true,
      describe: "replace a value of a profile: vmread=100, core2-e6700.vmread=100 (docs/COSTS.md lists them)",
    })
    .option("memory", {
      alias: ["m", "guest-memory"],
      type: "string",
      requiresArg: true,
      coerce: (text: string | undefined) => (text === undefined ? undefined : megabytesOf(text)),
      describe: "guest memory: MB, or 64M, 1G [default: 64]",
    })
    .option("max-cycles", {
      type: "string",
      coerce: whole("max-cycles", 1),
      describe: "give a guest up after so many cycles [default: 4e9]",
    })
    .option("seed", {
      type: "string",
      coerce: whole("seed", 0),
      describe: "seed of timer phase and TLB replacement [default: 1]",
    })
    .option("trace", {
      type: "string",
      requiresArg: true,
      describe: "write a line of JSON for every VM exit to this file",
    });
}

/** The engine against its reference (docs/ENGINE.md). */
export function verifyOption<T>(y: Argv<T>) {
  return y.option("verify", {
    type: "boolean",
    default: false,
    describe: "run the interpreter beside compiled code; stop where they differ",
  });
}

/** How a flat image is loaded. */
export function imageOptions<T>(y: Argv<T>) {
  return y.option("load-address", {
    ...{ type: "string", coerce: whole("load-address", 0) },
    describe: "the image is flat code that is loaded and entered here",
  });
}

/** What `run` takes. */
export function runOptions<T>(y: Argv<T>) {
  return verifyOption(imageOptions(guestOptions(y)))
    .option("profile", {
      alias: "p",
      type: "string",
      array: true,
      requiresArg: true,
      describe: "processors [default: the suite's, or all]",
    })
    .option("technique", {
      alias: "t",
      type: "string",
      array: true,
      requiresArg: true,
      describe: "techniques [default: the suite's, or all]: native, vtx+shadow",
    })
    .option("repetitions", {
      alias: "n",
      type: "string",
      coerce: whole("repetitions", 1),
      describe: "runs of each point, with other seeds",
    })
    .option("out", {
      alias: "o",
      type: "string",
      requiresArg: true,
      describe: "folder for the results [default: results/runs/NAME]",
    })
    .option("cache", {
      type: "boolean",
      default: true,
      describe: "use the stored results of points that have not changed; --no-cache runs all",
    })
    .option("workers", {
      alias: "j",
      type: "string",
      coerce: whole("workers", 1),
      describe: "worker threads [default: one per processor]",
    });
}

/** The options of guestOptions as yargs gives them. */
export interface GuestArguments {
  readonly param?: readonly string[] | undefined;
  readonly set?: readonly string[] | undefined;
  readonly memory?: number | undefined;
  readonly "max-cycles"?: number | undefined;
  readonly seed?: number | undefined;
  readonly trace?: string | undefined;
}

/** Guest options as choices over a suite. */
export function guestChoices(options: GuestArguments): Choices {
  return {
    ...(options.param === undefined ? {} : { parameters: parametersOf(options.param) }),
    ...(options.seed === undefined ? {} : { seed: options.seed }),
    ...(options.memory === undefined ? {} : { guestMemoryMb: options.memory }),
    ...(options["max-cycles"] === undefined ? {} : { maxCycles: options["max-cycles"] }),
  };
}

/** `scale=1,2 name=x` as parameters; a list is swept. */
export function parametersOf(texts: readonly string[]): Parameters {
  return Object.fromEntries(
    texts.map((text) => {
      const match = /^([A-Za-z][\w-]*)=(\S+)$/.exec(text);
      if (match === null) throw new UsageError(`--param takes name=value, not "${text}"`);
      const values = (match[2] as string).split(",");
      return [match[1] as string, values.length === 1 ? (values[0] as string) : values];
    }),
  );
}

/** `--set` texts as settings. Throws a Problem (`bad-override`, `unknown-profile`). */
export function settingsOf(texts: readonly string[] | undefined, profileNames: readonly string[]): readonly Setting[] {
  return (texts ?? []).map((text) => {
    const match = /^([A-Za-z0-9._-]+)=(.+)$/.exec(text);
    const value = Number(match?.[2]);
    if (match === null || !Number.isFinite(value)) {
      throw new Problem(
        "bad-override",
        `--set takes name=number, as in vmread=100 or core2-e6700.vmread=100, not "${text}"`,
      );
    }
    const [first, ...rest] = (match[1] as string).split(".") as [string, ...string[]];
    if (rest.length === 0) return { name: first, value };
    if (first === "profile") return { name: rest.join("."), value };
    if (profileNames.includes(first)) return { profile: first, name: rest.join("."), value };
    if (first.includes("-")) {
      throw new Problem(
        "unknown-profile",
        `--set ${text}: no processor profile "${first}"; there are ${profileNames.join(", ")}`,
      );
    }
    return { name: [first, ...rest].join("."), value };
  });
}
