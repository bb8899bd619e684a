/**
 * Parameters of techniques: checked against what the technique says of itself, and written as a _variant_, the text that
 * names them in labels, tables and CSV: `chaining=false unitSize=4`, in the technique's order, usual values left away. So one
 * way of running a technique has one name and one content address.
 */
import type { ParameterInfo, ParameterValue } from "../sim/techniques/parameters.ts";
import { Problem } from "./problem.ts";
import { hint } from "./suggest.ts";

export type TechniqueParameters = Readonly<Record<string, ParameterValue>>;

/** A technique as far as its parameters go. */
export interface Parametrized {
  readonly name: string;
  readonly parameters: readonly ParameterInfo[];
}

/** Throws a Problem (`bad-parameter`) unless the technique has this parameter and it can have this value. */
export function checkParameter(
  { name: technique, parameters }: Parametrized,
  name: string,
  value: ParameterValue,
): void {
  const info = parameters.find((each) => each.name === name);
  if (info === undefined) {
    const names = parameters.map((each) => each.name);
    const advice = names.length === 0 ? "; it has none" : hint(name, names);
    throw new Problem("bad-parameter", `${technique} has no parameter "${name}"${advice}`);
  }
  const refuse = (expected: string) => {
    throw new Problem("bad-parameter", `${technique}: parameter ${name} is ${expected}, not ${JSON.stringify(value)}`);
  };
  const { usual, range, words } = info;
  if (typeof usual === "boolean" && typeof value !== "boolean") refuse("true or false");
  if (typeof usual === "number") {
    const [least, most] = range ?? [0, Number.MAX_SAFE_INTEGER];
    const fits = typeof value === "number" && Number.isInteger(value) && value >= least && value <= most;
    if (!fits) refuse(`a whole number from ${least} to ${most}`);
  }
  if (words !== undefined && !words.includes(value as string)) refuse(words.join(" or "));
}

/** The variant that the parameters make; empty when all are the usual ones. Throws a Problem. */
export function variantOf(technique: Parametrized, given: TechniqueParameters): string {
  for (const [name, value] of Object.entries(given)) checkParameter(technique, name, value);
  return technique.parameters
    .filter(({ name, usual }) => given[name] !== undefined && given[name] !== usual)
    .map(({ name }) => `${name}=${given[name]}`)
    .join(" ");
}

/** The parameters that `chaining=false` and the like name; of a name that comes twice the last value. Throws a Problem. */
export function parametersFrom(words: readonly string[]): TechniqueParameters {
  return Object.fromEntries(
    words.map((word) => {
      const match = /^([A-Za-z]\w*)=(\S+)$/.exec(word);
      if (match === null) throw new Problem("bad-parameter", `a technique's parameter is name=value, not "${word}"`);
      return [match[1] as string, parsed(match[2] as string)];
    }),
  );
}

/** The parameters of a variant. */
export function parametersOfVariant(variant: string): TechniqueParameters {
  return parametersFrom(variant === "" ? [] : variant.split(" "));
}

function parsed(text: string): ParameterValue {
  if (text === "true" || text === "false") return text === "true";
  return /^\d+$/.test(text) ? Number(text) : text;
}
