import { describe, expect, test } from "vitest";
import {
  overridableNames,
  PROFILE_NAMES,
  ProfileError,
  profileNamed,
  profileValue,
  withOverrides,
} from "../../sim/cpu/profiles/catalogue.ts";
import { costTicks } from "../../sim/cpu/profiles/profile.ts";

const pentium4 = profileNamed("pentium4-672");
const core2 = profileNamed("core2-e6700");

test("profiles are found by name, and a wrong name is answered with the right ones", () => {
  for (const name of PROFILE_NAMES) expect(profileNamed(name).name).toBe(name);
  expect(() => profileNamed("pentium5")).toThrow(
    new ProfileError('no processor profile "pentium5"; there are pentium4-672, core2-e6700'),
  );
});

describe("overrides", () => {
  test("replace a cost, and leave the profile that they start from alone", () => {
    const cheaper = withOverrides(pentium4, { vmread: 100 });
    expect(costTicks(cheaper).vmread).toBe(1200);
    expect(costTicks(pentium4).vmread).toBe(178 * 12);
    expect(cheaper.costs.vmread.source).toBe("set by the user; was 178 (published: AA06T-005 (exact))");
  });

  test("take the place of a fitted value without claiming its cell", () => {
    const { monitorCpi } = withOverrides(pentium4, { monitorCpi: 4.25 });
    expect(monitorCpi).toMatchObject({ value: 4.25, mark: "derived", unit: "cycles/instruction" });
    expect(monitorCpi.cell).toBeUndefined();
  });

  test("reach every name that is listed, and nothing else changes", () => {
    for (const profile of [pentium4, core2]) {
      for (const name of overridableNames(profile)) {
        const value = name.endsWith(".ways") ? 1 : name.endsWith(".entries") ? 512 : 7;
        const changed = withOverrides(profile, { [name]: value });
        for (const other of overridableNames(profile)) {
          expect(profileValue(changed, other), `${name} -> ${other}`).toBe(
            other === name ? value : profileValue(profile, other),
          );
        }
      }
    }
  });

  test("of none give the profile itself", () => {
    expect(withOverrides(core2, {})).toBe(core2);
  });

  test("of entries and ways together are checked together", () => {
    const changed = withOverrides(pentium4, { "dataTlb.small.entries": 48, "dataTlb.small.ways": 4 });
    expect(changed.dataTlb.small).toEqual({ entries: 48, ways: 4, replacement: "fifo" });
  });

  test.each<[Record<string, number>, string]>([
    [{ vmraed: 1 }, 'profile pentium4-672 has no value "vmraed" (did you mean vmread?); docs/COSTS.md lists them'],
    [{ quux: 1 }, 'profile pentium4-672 has no value "quux"; docs/COSTS.md lists them'],
    [{ toString: 1 }, 'profile pentium4-672 has no value "toString"; docs/COSTS.md lists them'],
    [{ vmread: Number.NaN }, "vmread must be a number of cycles, not NaN"],
    [{ vmread: -1 }, "vmread must be a number of cycles, not -1"],
    [{ alu: 0.3 }, "alu must be a multiple of 1/12 cycle, not 0.3; the nearest is 0.333333333"],
    [{ frequencyMHz: 3800.5 }, "frequencyMHz must be a whole number from 1, not 3800.5"],
    [{ "dataTlb.small.entries": 0 }, "dataTlb.small.entries must be a whole number from 1, not 0"],
    [{ "dataTlb.small.entries": 65 }, "dataTlb.small.entries (65) must be a multiple of dataTlb.small.ways (64)"],
    [
      { "dataTlb.secondSmall.entries": 512 },
      'profile pentium4-672 has no value "dataTlb.secondSmall.entries"; docs/COSTS.md lists them',
    ],
  ])("that are wrong are refused in one line: %o", (overrides, message) => {
    expect(() => withOverrides(pentium4, overrides)).toThrow(new ProfileError(message));
  });

  test("accept the value that a refusal names", () => {
    expect(costTicks(withOverrides(pentium4, { alu: 0.333333333 })).alu).toBe(4);
  });
});
