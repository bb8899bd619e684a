/**
 * `ringlab boot`: one guest, its serial console here as it comes, input by a terminal or a script, and a page about how
 * it ended. The guest runs in this thread, in slices (drive.ts).
 */
import { writeFileSync } from "node:fs";
import { problemOf } from "../experiments/ends.ts";
import { modeText, processorOf } from "../experiments/inspect.ts";
import { grouped } from "../experiments/numbers.ts";
import { shown } from "../experiments/paths.ts";
import { type Point, singleLabel } from "../experiments/point.ts";
import { asProblem, Problem } from "../experiments/problem.ts";
import type { ScriptStep } from "../experiments/script.ts";
import type { Session } from "../experiments/session.ts";
import type { SimulationRequest } from "../experiments/simulate.ts";
import { openLines, traceLine } from "../experiments/task.ts";
import type { RunEnd } from "../sim/result.ts";
import { scriptOf } from "./boot-options.ts";
import { bootRequest, type WithImage } from "./boot-request.ts";
import { type Runner, type RunnerOptions, runnerFor } from "./boot-runner.ts";
import { drive } from "./drive.ts";
import { type Environment, Stopped } from "./environment.ts";
import { OK, type StopSignal } from "./exit-codes.ts";
import { screenTo } from "./screen.ts";
import { type SingleArguments, singlePoint } from "./single.ts";
import { absentLine, endText, exitSummary, placeLines } from "./summary.ts";
import { openTerminal } from "./terminal.ts";

export interface BootArguments extends SingleArguments, WithImage, RunnerOptions {
  readonly image: string;
  readonly stdin?: boolean | undefined;
  readonly screen?: string | undefined;
  readonly debugcon?: string | undefined;
}

/** Without `--max-cycles` someone who watches decides when it is enough. */
const UNLIMITED = Number.MAX_SAFE_INTEGER / 16;

type End = RunEnd | { readonly kind: "quit" } | { readonly kind: "signal"; readonly signal: StopSignal };

export async function bootCommand(
  options: BootArguments,
  argv: readonly string[],
  environment: Environment,
): Promise<number> {
  // Two guests in lockstep hear a script, and nobody who types.
  const watched = environment.console.interactive && options.stdin !== true && options.verify !== true;
  const point = pointOf(options, watched);
  const script = await wholeScript(options, argv, environment);
  const trace = options.trace === undefined ? undefined : openLines(options.trace);
  const output = serialOutput(environment);
  try {
    const request: SimulationRequest = {
      ...bootRequest(point, options, (line) => environment.err(`ringlab: ${line}\n`)),
      script,
      onSerial: output.heard,
      ...(trace === undefined ? {} : { onExit: (record) => trace.write(JSON.stringify(traceLine(record))) }),
    };
    const session = await environment.session(point, request);
    const runner = await runnerFor(session, request, options, environment);
    const end = await run(session, point, environment, { watched, output, runner });
    output.end();
    const made = [
      ...runner.close(),
      ...(options.trace === undefined ? [] : [`exits traced to ${shown(options.trace)}`]),
    ];
    return report(session, point, end, { options, made }, environment);
  } finally {
    output.end();
    trace?.close();
  }
}

function pointOf(options: BootArguments, watched: boolean): Point {
  const point = singlePoint(options.image, options);
  return watched && options["max-cycles"] === undefined ? { ...point, maxCycles: UNLIMITED } : point;
}

/** The script on the command line, and behind it what is piped in: when the guest has said something, if nothing else. */
async function wholeScript(
  options: BootArguments,
  argv: readonly string[],
  environment: Environment,
): Promise<readonly ScriptStep[]> {
  const script = scriptOf(argv);
  if (options.stdin !== true) return script;
  const bytes = [...(await environment.console.readAll())];
  return [...(script.length === 0 ? [{ kind: "expect", text: "" } as const] : script), { kind: "send", bytes }];
}

interface SerialOutput {
  heard(text: string): void;
  /** Shows what has come since the last time. */
  flush(): void;
  /** Shows the rest, and ends an open line. */
  end(): void;
}

/** The guest's bytes are UTF-8, as a terminal would take them; what is not is shown as U+FFFD. */
function serialOutput(environment: Environment): SerialOutput {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let pending = "";
  let openLine = false;
  const show = (last: boolean) => {
    const text = decoder.decode(Buffer.from(pending, "latin1"), { stream: !last });
    pending = "";
    if (text === "") return;
    openLine = !text.endsWith("\n");
    environment.out(text);
  };
  return {
    heard(text) {
      pending += text;
    },
    flush: () => show(false),
    end() {
      show(true);
      if (openLine) environment.out("\n");
      openLine = false;
    },
  };
}

/** Runs the guest to its end, or to a signal; rejects with a Problem when the simulator fails. */
async function run(
  session: Session,
  point: Point,
  environment: Environment,
  { watched, output, runner }: { watched: boolean; output: SerialOutput; runner: Runner },
): Promise<End> {
  let signal: StopSignal | undefined;
  let quits = false;
  const forget = environment.onStop((asked) => {
    signal = asked;
  });
  const tell = (text: string) => environment.err(`\n${text}`);
  const close = watched
    ? openTerminal(environment.console, {
        send: (bytes) => session.sendSerial(bytes),
        type: (keys) => session.sendKeys(keys),
        quit: () => {
          quits = true;
        },
        status: () => tell(`${placeLines(session.machine).join("\n")}\n`),
        screen: () => tell(screenTo(session.machine, undefined)),
        tell,
      })
    : () => undefined;
  if (watched) environment.err("ringlab: the serial console; Ctrl-A x ends the run, Ctrl-A h helps\n");
  try {
    const between = () => {
      output.flush();
      return quits || signal !== undefined || runner.ended();
    };
    const { run } = runner;
    const end = await drive(session, { between, paced: watched, ...(run === undefined ? {} : { run }) });
    if (signal !== undefined) return { kind: "signal", signal };
    return end ?? { kind: "quit" };
  } catch (error) {
    runner.close();
    const problem = asProblem(error, "simulator-error");
    throw new Problem(problem.kind, `${singleLabel(point)}: ${problem.message}`);
  } finally {
    close();
    forget();
  }
}

/** The page about the end; throws the Problem that it is. */
function report(
  session: Session,
  point: Point,
  end: End,
  { options, made }: { options: BootArguments; made: readonly string[] },
  environment: Environment,
): number {
  const { machine } = session;
  // The result's end is not looked at again.
  const ended = end.kind !== "quit" && end.kind !== "signal";
  const result = session.result(ended ? end : { kind: "exit", status: 0 });
  const lines = exitSummary(point, result, endText(end));
  const problem = !ended ? null : problemOf(end, singleLabel(point), point.maxCycles);
  if (end.kind === "signal" || (problem !== null && end.kind !== "exit")) lines.push("", ...placeLines(machine));
  const debugBytes = machine.board.console.bytes.length;
  if (debugBytes > 0 && options.debugcon === undefined) {
    lines.push("", `${grouped(debugBytes)} bytes came on port E9h; --debugcon - shows them`);
  }
  const absent = absentLine(machine);
  if (absent !== null) lines.push("", absent);
  if (made.length > 0) lines.push("", ...made);
  if (options.debugcon !== undefined) writeDebugConsole(machine.board.console.bytes, options.debugcon, environment);
  environment.err(`\n${lines.join("\n")}\n`);
  if (options.screen !== undefined)
    environment.out(screenTo(machine, ["", "text"].includes(options.screen) ? undefined : options.screen));
  if (end.kind === "signal") throw new Stopped(end.signal, "interrupted");
  const awaited = !ended ? null : awaitedProblem(session, point, end);
  if (awaited !== null) throw awaited;
  if (problem !== null) throw problem;
  return OK;
}

/** What a script still waited for when the run ended. */
function awaitedProblem(session: Session, point: Point, end: RunEnd): Problem | null {
  const step = session.script.step;
  if (step?.kind !== "expect" && step?.kind !== "expect-screen") return null;
  const where = step.kind === "expect" ? "the serial console" : "the screen";
  const text = step.kind === "expect" ? session.serial : session.machine.board.vga.text().join("\n");
  const last = text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .slice(-2)
    .map((line) => JSON.stringify(line.trimEnd()));
  const seen = last.length === 0 ? "nothing came there" : `the last there is ${last.join(", ")}`;
  return new Problem(
    "expect-failed",
    `${singleLabel(point)}: ${JSON.stringify(step.text)} never came on ${where}; ${seen}; the run ended: ${endText(end)}, ${modeText(processorOf(session.machine))}`,
  );
}

function writeDebugConsole(bytes: readonly number[], file: string, environment: Environment): void {
  if (file === "-") {
    environment.out(Buffer.from(bytes).toString("utf8"));
    return;
  }
  try {
    writeFileSync(file, Uint8Array.from(bytes));
  } catch (error) {
    throw new Problem("bad-output", `${shown(file)}: cannot be written (${(error as NodeJS.ErrnoException).code})`);
  }
}
