// Parameters of techniques: names and values checked, one text for one way of running a technique, and the way into a run.

import { expect, test } from "vitest";
import { ROOT } from "../../experiments/paths.ts";
import { addressOf, expand, type Point, pointLabel } from "../../experiments/point.ts";
import { parseSuite } from "../../experiments/suite.ts";
import { requestOf } from "../../experiments/task.ts";
import {
  checkParameter,
  parametersFrom,
  parametersOfVariant,
  type TechniqueParameters,
  variantOf,
} from "../../experiments/technique-parameters.ts";
import { combinationLabel, combinationTitle, parseCombination, sameCombination } from "../../experiments/techniques.ts";
import { BT_PARAMETERS, BT_USUAL } from "../../sim/techniques/bt/parameters.ts";

const bt = { name: "bt", parameters: BT_PARAMETERS };
const none = { name: "native", parameters: [] };

test("what is said of a parameter's usual value is what the translator begins with", () => {
  expect(Object.fromEntries(BT_PARAMETERS.map(({ name, usual }) => [name, usual]))).toEqual(BT_USUAL);
});

test("a variant is what is not usual, in the technique's order", () => {
  expect(variantOf(bt, {})).toBe("");
  expect(variantOf(bt, { ...BT_USUAL })).toBe("");
  expect(variantOf(bt, { user: "translate", unitSize: 4, chaining: false, inline: true })).toBe(
    "chaining=false unitSize=4 user=translate",
  );
});

test("a variant says what its parameters were", () => {
  const given: TechniqueParameters = { chaining: false, unitSize: 4, user: "translate" };
  expect(parametersOfVariant(variantOf(bt, given))).toEqual(given);
  expect(parametersOfVariant("")).toEqual({});
});

test.each<[string, () => void, RegExp]>([
  [
    "an unknown name",
    () => checkParameter(bt, "chain", false),
    /^bt has no parameter "chain"; did you mean "chaining"\?$/,
  ],
  [
    "a name that is like none",
    () => checkParameter(bt, "xyz", 1),
    /^bt has no parameter "xyz"; there are chaining, inline, /,
  ],
  [
    "a technique that has none",
    () => checkParameter(none, "chaining", false),
    /^native has no parameter "chaining"; it has none$/,
  ],
  ["a switch that is none", () => checkParameter(bt, "inline", 0), /^bt: parameter inline is true or false, not 0$/],
  [
    "a number out of range",
    () => checkParameter(bt, "unitSize", 13),
    /^bt: parameter unitSize is a whole number from 1 to 12, not 13$/,
  ],
  ["half a number", () => checkParameter(bt, "cacheKb", 64.5), /a whole number from 16 to 2048, not 64\.5$/],
  ["a word for a number", () => checkParameter(bt, "cacheKb", "big"), /not "big"$/],
  [
    "an unknown word",
    () => checkParameter(bt, "user", "native"),
    /^bt: parameter user is direct or translate, not "native"$/,
  ],
  ["no name", () => parametersFrom(["=3"]), /^a technique's parameter is name=value, not "=3"$/],
])("%s is refused", (_, act, message) => {
  expect(act).toThrow(message);
});

test("on the command line parameters follow the technique, and are refused by name", () => {
  expect(parseCombination("vtx+shadow")).toEqual({ technique: "vtx", memory: "shadow" });
  expect(() => parseCombination("vtx,chaining=false")).toThrow(/^vtx has no parameter "chaining"/);
  expect(() => parseCombination("native,chaining")).toThrow(/name=value, not "chaining"/);
});

test("in a suite a wrong parameter has its line and column", () => {
  const suite = (parameters: string) => `name: s
profiles: [pentium4-672]
techniques:
  - technique: vtx
    parameters: ${parameters}
workloads: [in]
`;
  expect(() => parseSuite(suite("{ chaining: false }"), "s.yaml", ROOT)).toThrow(
    /^s\.yaml:5:29: vtx has no parameter "chaining"/,
  );
  expect(() => parseSuite(suite("[1]"), "s.yaml", ROOT)).toThrow(/^s\.yaml:5:17: /);
  expect(parseSuite(suite("{}"), "s.yaml", ROOT).techniques).toEqual([{ technique: "vtx", memory: "shadow" }]);
});

test("a variant is another combination, with another label and title", () => {
  const usual = { technique: "bt", memory: "shadow" };
  const varied = { ...usual, variant: "chaining=false unitSize=4" };
  expect(combinationLabel(varied)).toBe("bt+shadow,chaining=false,unitSize=4");
  expect(combinationTitle(varied)).toMatch(/ \+ shadow, chaining=false, unitSize=4$/);
  expect(sameCombination(usual, varied)).toBe(false);
  expect(sameCombination(usual, { ...usual, variant: "" })).toBe(true);
});

test("a point's variant is in its address and its label, and reaches the simulator as values", () => {
  const suite = parseSuite(
    "name: s\nprofiles: [pentium4-672]\ntechniques: [{ technique: vtx }]\nworkloads: [in]\n",
    "s.yaml",
    ROOT,
  );
  const combination = { technique: "vtx", memory: "shadow" };
  const points = expand({
    ...suite,
    techniques: [combination, { ...combination, variant: "chaining=false unitSize=4" }],
  });
  const [usual, varied] = points as [Point, Point];
  expect(addressOf(usual, "code")).not.toBe(addressOf(varied, "code"));
  expect(pointLabel(varied)).toBe("in, pentium4-672, vtx+shadow,chaining=false,unitSize=4, repetition 1");
  expect(requestOf(varied).techniqueParameters).toEqual({ chaining: false, unitSize: 4 });
  expect(requestOf(usual).techniqueParameters).toBe(undefined);
});
