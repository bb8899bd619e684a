// Published cells: every row of the compared papers is accounted for, once, and the rules of fitting are kept.

import { expect, test } from "vitest";
import { publishedRows, readPublished } from "../../experiments/published.ts";
import { parseCombination } from "../../experiments/techniques.ts";
import { workloadCatalogue } from "../../experiments/workloads.ts";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";

const published = readPublished();

test("every row of the compared papers is compared, or is listed with a reason, exactly once", () => {
  const named = [
    ...published.cells.map((cell) => cell.row.id),
    ...published.costs.map((cost) => cost.row.id),
    ...published.notCompared.flatMap(({ rows }) => rows.map((row) => row.id)),
  ];
  expect([...named].sort()).toEqual([...publishedRows().keys()].sort());
});

test("a compared cell names a workload, a profile and a number that there are", () => {
  const workloads = workloadCatalogue().map((workload) => workload.name);
  for (const cell of published.cells) {
    expect(workloads).toContain(cell.workload);
    expect(profileNamed(cell.profile).name).toBe(cell.profile);
    const label = [cell.technique, ...(cell.variant === "" ? [] : cell.variant.split(" "))].join(",");
    expect(parseCombination(label)).toMatchObject({ technique: cell.technique });
    expect(parseCombination(label).variant ?? "").toBe(cell.variant);
    expect(cell.row.value).toBeGreaterThan(0);
    expect(cell.explain.length).toBeGreaterThan(10);
  }
});

test("the memory-mapped tprwr stands beside nothing, and SYSENTER only as a different instruction", () => {
  expect(published.cells.filter((cell) => cell.workload === "tprwr")).toEqual([]);
  for (const cell of published.cells.filter((each) => each.workload === "syscall-sysenter")) {
    expect(cell.differs).toMatch(/SYSCALL/);
  }
});

test("two cells are calibrated, the port read under VT-x and the RDTSC call-out on the Pentium 4, as the profile says", () => {
  const calibrated = published.cells.filter((cell) => cell.standing === "calibrated");
  expect(calibrated.map((cell) => cell.row.id)).toEqual(["AA06N-006", "AA06T-014"]);
  const profile = "pentium4-672";
  expect(calibrated[0]).toMatchObject({ workload: "in", technique: "vtx", variant: "", profile });
  expect(calibrated[1]).toMatchObject({ workload: "rdtsc", technique: "bt", variant: "inline=false", profile });
  expect(profileNamed(profile).monitorCpi).toMatchObject({ mark: "calibrated", cell: "AA06N-006" });
  expect(profileNamed(profile).deprivilegedCpi).toMatchObject({ mark: "calibrated", cell: "AA06T-014" });
});

test("bare hardware is input but for the two stores that nothing was derived from; nothing under a monitor is", () => {
  for (const cell of published.cells) {
    const native = cell.technique === "native" && !["ptemod-p2np", "ptemod-np2p"].includes(cell.workload);
    expect(cell.standing === "input", cell.row.id).toBe(native);
  }
});

test("a hardware primitive that is an input is the published number", () => {
  for (const { row, profile, costs, standing } of published.costs) {
    const ours = costs.reduce((sum, name) => sum + profileNamed(profile).costs[name as "vmexit"].value, 0);
    if (standing === "input") expect(ours, row.id).toBe(row.value);
  }
});
