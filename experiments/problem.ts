/**
 * What can go wrong that is not a bug of ours: bad input at the edge, and guests that do not end well. Each kind has
 * its own exit code (cli/exit-codes.ts). A message is one line: what, where, what to do; that of `engine-differs` has both states behind it.
 */

export const PROBLEM_KINDS = [
  "unknown-profile",
  "unknown-technique",
  "unknown-workload",
  "bad-suite",
  "bad-override",
  "bad-image",
  "impossible-combination",
  "image-too-large",
  "bad-results",
  "bad-parameter",
  "guest-failed",
  "triple-fault",
  "cycle-limit",
  "dead-halt",
  "unmodelled",
  "expect-failed",
  "bad-output",
  "engine-differs",
  "guest-survived",
  "simulator-error",
  "worker-crashed",
] as const;
export type ProblemKind = (typeof PROBLEM_KINDS)[number];

/** A problem that the user can act on. */
export class Problem extends Error {
  override readonly name = "Problem";
  readonly kind: ProblemKind;

  constructor(kind: ProblemKind, message: string) {
    super(message);
    this.kind = kind;
  }
}

/** `error` as a problem of the given kind, when it is not one already; its message is cut to one line. */
export function asProblem(error: unknown, kind: ProblemKind): Problem {
  if (error instanceof Problem) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new Problem(kind, message.split("\n")[0] as string);
}
