/** What ringlab's exit status says. Scripts may rely on it; `ringlab --help` and README.md show it. */
import type { ProblemKind } from "../experiments/problem.ts";

export interface ExitCode {
  readonly code: number;
  readonly meaning: string;
}

/** Problems of input and of guests. */
export const PROBLEM_CODES: Readonly<Record<ProblemKind, ExitCode>> = {
  "unknown-profile": { code: 10, meaning: "no processor profile of that name" },
  "unknown-technique": { code: 11, meaning: "no technique or memory model of that name" },
  "unknown-workload": { code: 12, meaning: "no suite or workload of that name" },
  "bad-suite": { code: 13, meaning: "malformed suite file" },
  "bad-override": { code: 14, meaning: "--set of a value that does not exist or cannot be" },
  "bad-image": { code: 15, meaning: "image that cannot be read, is truncated or is not for x86" },
  "impossible-combination": { code: 16, meaning: "combination that never existed" },
  "image-too-large": { code: 17, meaning: "image larger than the guest's memory" },
  "bad-results": { code: 18, meaning: "results folder missing or damaged" },
  "bad-parameter": { code: 19, meaning: "technique parameter that does not exist or cannot have that value" },
  "guest-failed": { code: 20, meaning: "the guest exited with a status other than 0" },
  "triple-fault": { code: 21, meaning: "the guest triple-faulted" },
  "cycle-limit": { code: 22, meaning: "the guest ran past --max-cycles" },
  "dead-halt": { code: 23, meaning: "the guest halted and nothing can wake it" },
  unmodelled: { code: 24, meaning: "the guest needs what is not modelled" },
  "expect-failed": { code: 25, meaning: "what --expect waited for never came" },
  "bad-output": { code: 26, meaning: "a file cannot be written" },
  "engine-differs": { code: 27, meaning: "--verify: compiled code and the interpreter differ: a bug of ringlab" },
  "guest-survived": { code: 28, meaning: "the guest did not fail, and its suite says that it does" },
  "simulator-error": { code: 30, meaning: "the simulator failed: a bug of ringlab" },
  "worker-crashed": { code: 31, meaning: "a worker thread died" },
};

export const OK = 0;
export const INTERNAL_ERROR = 1;
export const USAGE = 2;
/** `ringlab diff` found differences. */
export const DIFFERENT = 3;

const OTHER_CODES: readonly ExitCode[] = [
  { code: OK, meaning: "done, and every guest exited with status 0" },
  { code: INTERNAL_ERROR, meaning: "a bug of ringlab" },
  { code: USAGE, meaning: "wrong use of the command line" },
  { code: DIFFERENT, meaning: "diff: the results differ" },
  { code: 70, meaning: "set-up of the clone failed" },
  { code: 130, meaning: "stopped by Ctrl-C; finished points are kept" },
  { code: 143, meaning: "stopped by SIGTERM; finished points are kept" },
];

/** All exit codes, in order. */
export const EXIT_CODES: readonly ExitCode[] = [...OTHER_CODES, ...Object.values(PROBLEM_CODES)].sort(
  (a, b) => a.code - b.code,
);

/** Of the signals that stop a run. */
export const SIGNAL_CODES = { SIGINT: 130, SIGTERM: 143 } as const;
export type StopSignal = keyof typeof SIGNAL_CODES;
