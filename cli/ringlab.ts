/**
 * The command line: commands, options, help, and what becomes of errors. A command's code is imported when it is run,
 * so that `--help` and a wrong option answer at once.
 */
import yargs, { type Argv } from "yargs";
import { Problem } from "../experiments/problem.ts";
import { nearest } from "../experiments/suggest.ts";
import { bootOptions } from "./boot-options.ts";
import { type Environment, Stopped } from "./environment.ts";
import { EXIT_CODES, INTERNAL_ERROR, OK, PROBLEM_CODES, SIGNAL_CODES, USAGE } from "./exit-codes.ts";
import { guestOptions, imageOptions, numberOf, pointOptions, runOptions, UsageError, verifyOption } from "./options.ts";
import { sourcePositions } from "./stack.ts";

const DESCRIPTION = `ringlab: the same x86 guest on bare hardware and under every virtualization technique,
with every cycle accounted for.

  ringlab <command> [options]`;

const EXIT_STATUS = `Exit status:\n${EXIT_CODES.map(({ code, meaning }) => `  ${String(code).padStart(3)}  ${meaning}`).join("\n")}`;

/** Runs a command line. Returns the exit status. */
export async function ringlab(argv: readonly string[], environment: Environment): Promise<number> {
  let chosen: (() => Promise<number>) | undefined;
  const act = (command: () => Promise<number>) => {
    chosen = command;
  };
  try {
    commandLine(argv, environment, act).parse();
    return chosen === undefined ? OK : await chosen();
  } catch (error) {
    return report(error, environment);
  }
}

/** Says what went wrong, and with what status to exit. */
function report(error: unknown, environment: Environment): number {
  if (error instanceof Stopped) {
    environment.err(`ringlab: ${error.message}\n`);
    return SIGNAL_CODES[error.signal];
  }
  if (error instanceof Problem) {
    environment.err(`ringlab: ${error.message}\n`);
    return PROBLEM_CODES[error.kind].code;
  }
  if (error instanceof UsageError) {
    environment.err(`ringlab: ${error.message}\n`);
    return USAGE;
  }
  const text = error instanceof Error ? sourcePositions(error.stack ?? error.message) : String(error);
  environment.err(`ringlab: a bug of ringlab, please report it: ${text}\n`);
  return INTERNAL_ERROR;
}

/** Notes what is to be done when the command line has been read. */
type Act = (command: () => Promise<number>) => void;

function commandLine(argv: readonly string[], environment: Environment, act: Act): Argv {
  const commands = ["run", "boot", "explain", "table", "figure", "diff", "list", "validation"];
  const parser = yargs(argv as string[]);
  return parser
    .scriptName("ringlab")
    .usage(DESCRIPTION)
    .command(
      "run <target>",
      "run a suite, or one workload, and write its table, CSV files and figures",
      (y) =>
        runOptions(y)
          .positional("target", {
            type: "string",
            demandOption: true,
            describe: "suite (name or .yaml file) or workload (name or image file)",
          })
          .example("$0 run adams-agesen-2006", "the default suite: what npm start runs")
          .example("$0 run in -t vtx -p core2-e6700", "one nanobenchmark under VT-x on a Core 2")
          .example("$0 run compute --param scale=1,2,4", "a sweep of a workload's parameter")
          .example("$0 run cpuid --set pentium4-672.vmexit=1000", "what if an exit took 1 000 cycles?")
          .example("$0 run kernel --verify", "every state that compiled code leaves, against the interpreter's"),
      (options) => act(async () => (await import("./run.ts")).runCommand(options, environment)),
    )
    .command(
      "boot <image>",
      "boot one image: its serial output to the terminal, then how it ended",
      (y) =>
        bootOptions(verifyOption(imageOptions(guestOptions(pointOptions(y)))))
          .positional("image", {
            type: "string",
            demandOption: true,
            describe: "workload (name) or image file: disk, Linux, multiboot, ELF32, flat code",
          })
          .example("$0 boot kernel", "the guest kernel's own test, on bare hardware")
          .example("$0 boot my.elf -t vtx --trace exits.jsonl", "with a line of JSON for every VM exit")
          .example("$0 boot disk.img -m 128M --screen", "a disk with its boot loader; the screen at the end")
          .example('$0 boot bzImage --initrd rd.gz --append "console=ttyS0"', "a Linux kernel")
          .example("$0 boot kernel.elf --gdb", "waits for gdb's target remote :1234 (docs/GUESTS.md)"),
      (options) => act(async () => (await import("./boot.ts")).bootCommand(options, argv, environment)),
    )
    .command(
      "explain <workload>",
      "one iteration of a measured region as an additive list of costs",
      (y) =>
        guestOptions(pointOptions(y))
          .positional("workload", { type: "string", demandOption: true, describe: "workload with a measured region" })
          .option("region", { type: "string", describe: "region, by name or number; the first when nothing is said" })
          .example("$0 explain in -t vtx -p pentium4-672", "where do the cycles of a port read under VT-x go?"),
      (options) => act(async () => (await import("./explain.ts")).explainCommand(options, environment)),
    )
    .command(
      "table [results]",
      "the table of a finished run",
      (y) => resultsArgument(y).example("$0 table results/runs/in", "of the run in that folder"),
      ({ results }) => act(async () => (await import("./table.ts")).tableCommand(results, environment)),
    )
    .command(
      "figure [results]",
      "draw the figures of a finished run anew (Vega-Lite, SVG, PNG)",
      (y) =>
        resultsArgument(y)
          .option("only", { type: "string", array: true, describe: "figures to draw: nanobenchmarks, accounts" })
          .option("out", { type: "string", describe: "folder to write to; the run's own when nothing is said" })
          .example("$0 figure --only nanobenchmarks --out .", "one figure of the default suite, here"),
      (options) => act(async () => (await import("./figure.ts")).figureCommand(options, environment)),
    )
    .command(
      "diff <a> <b>",
      "what differs between two runs",
      (y) =>
        y
          .positional("a", { type: "string", demandOption: true, describe: "results folder" })
          .positional("b", { type: "string", demandOption: true, describe: "results folder" })
          .option("tolerance", {
            ...{ type: "string", default: "0", coerce: (text: string) => numberOf("tolerance", text, 0) },
            describe: "percent by which means may differ",
          })
          .example("$0 diff results/runs/in /tmp/before", "is anything other than it was?"),
      (options) => act(async () => (await import("./diff.ts")).diffCommand(options, environment)),
    )
    .command(
      "list [what]",
      "suites, workloads, profiles and techniques that there are",
      (y) =>
        y.positional("what", {
          choices: ["suites", "workloads", "profiles", "techniques"] as const,
          describe: "one of the lists",
        }),
      ({ what }) => act(async () => (await import("./list.ts")).listCommand(what, environment)),
    )
    .command(
      "validation",
      "compare with every published value, item by item (docs/VALIDATION.md)",
      (y) =>
        y
          .option("out", { type: "string", describe: "file to write; printed when nothing is said" })
          .example("$0 validation --out docs/VALIDATION.md", "after a change of costs or mechanisms"),
      ({ out }) => act(async () => (await import("./validation.ts")).validationCommand(out, environment)),
    )
    .demandCommand(1, 1, "say what to do; ringlab --help shows the commands")
    .strict()
    .parserConfiguration({
      "camel-case-expansion": false,
      "duplicate-arguments-array": true,
      "parse-positional-numbers": false,
      "parse-numbers": false,
    })
    .example("$0 run adams-agesen-2006", "run the default suite")
    .example("$0 explain in -t vtx -p pentium4-672", "account for every cycle of one cell")
    .example("$0 boot kernel", "watch a guest boot")
    .epilogue(
      `${EXIT_STATUS}\n\n\`ringlab <command> --help\` shows a command's options. Data goes to stdout and files, progress to stderr.`,
    )
    .wrap(Math.min(110, process.stdout.columns ?? 110))
    .version(false)
    .exitProcess(false)
    .fail((message, error) => {
      if (error instanceof Error && error.name !== "YError" && !(error instanceof UsageError)) throw error;
      const line = usageMessage(message ?? error?.message ?? "wrong use", argv, commands);
      throw new UsageError(withSuggestion(line, optionsOf(parser)));
    });
}

/** Names of the options that a parser knows: yargs' own list, which its types leave out. */
function optionsOf(parser: unknown): readonly string[] {
  return Object.keys((parser as { getOptions(): { key: object } }).getOptions().key);
}

/** A complaint about an unknown option, with the one that may have been meant. */
function withSuggestion(line: string, options: readonly string[]): string {
  const unknown = /^Unknown argument: ([\w-]+)/.exec(line)?.[1];
  const near = unknown === undefined ? undefined : nearest(unknown, options);
  return near === undefined ? line : line.replace(/^Unknown argument: [\w-]+/, `$&; did you mean --${near}?`);
}

/** yargs' complaint as one line, with a suggestion for a misspelt command. */
function usageMessage(message: string, argv: readonly string[], commands: readonly string[]): string {
  const line = message
    .replace(/\s*\n\s*/g, " ")
    .replace(/^Not enough non-option arguments.*/, "an argument is missing")
    .trim();
  const command = argv[0];
  if (command !== undefined && !command.startsWith("-") && !commands.includes(command)) {
    const near = nearest(command, commands);
    const advice = near === undefined ? `there are ${commands.join(", ")}` : `did you mean "${near}"?`;
    return `no command "${command}"; ${advice}`;
  }
  const help = command !== undefined && commands.includes(command) ? `ringlab ${command} --help` : "ringlab --help";
  return line.includes("--help") ? line : `${line} (${help})`;
}

function resultsArgument(y: Argv): Argv<{ results: string | undefined }> {
  return y.positional("results", {
    type: "string",
    describe: "results folder, or the name of a run in results/runs; the default suite's when nothing is said",
  });
}
