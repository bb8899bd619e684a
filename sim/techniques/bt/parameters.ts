/**
 * What can be varied of the translator, for ablation: each mechanism that K. Adams and O. Agesen (ASPLOS 2006, section 3)
 * describe can be taken away. No parameter changes what a guest sees.
 */
import type { ParameterInfo } from "../parameters.ts";

export interface BtParameters {
  readonly chaining: boolean;
  readonly inline: boolean;
  readonly adaptation: boolean;
  readonly returnLookup: boolean;
  /** Guest instructions. */
  readonly unitSize: number;
  /** KB. */
  readonly cacheKb: number;
  readonly user: "direct" | "translate";
}

export const BT_USUAL: BtParameters = {
  ...{ chaining: true, inline: true, adaptation: true, returnLookup: true },
  ...{ unitSize: 12, cacheKb: 1024, user: "direct" },
};

/** The parameters by name, in the order in which they are written. */
export const BT_PARAMETERS: readonly ParameterInfo[] = [
  {
    name: "chaining",
    description: "direct branches go from unit to unit without the monitor",
    usual: BT_USUAL.chaining,
  },
  {
    name: "inline",
    description: "CLI, STI, PUSHF, POPF and their like are sequences in the cache, not call-outs",
    usual: BT_USUAL.inline,
  },
  {
    name: "adaptation",
    description: "instructions that keep faulting are translated anew, straight to the handler",
    usual: BT_USUAL.adaptation,
  },
  {
    name: "returnLookup",
    description: "returns and indirect branches look their target up in the cache",
    usual: BT_USUAL.returnLookup,
  },
  {
    name: "unitSize",
    description: "guest instructions of a translation unit, at most",
    usual: BT_USUAL.unitSize,
    range: [1, 12],
  },
  { name: "cacheKb", description: "KB of the translation cache", usual: BT_USUAL.cacheKb, range: [16, 2048] },
  {
    name: "user",
    description: "guest code at CPL 3: executed directly, or translated as well",
    usual: BT_USUAL.user,
    words: ["direct", "translate"],
  },
];
