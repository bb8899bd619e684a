// The monitor in its guest's linear space: nobody stores into its region but itself, the hardware that delivers to it, and
// what its translator emitted to store in the data page.
import { describe, expect, test } from "vitest";
import { CELL, SEG } from "../../sim/cpu/state.ts";
import { REGION_PAGE, regionAddress } from "../../sim/techniques/deprivileged/layout.ts";
import { MonitorRegion } from "../../sim/techniques/deprivileged/region.ts";
import { RegionObserver } from "../../sim/techniques/deprivileged/region-observer.ts";
import { boot, deprivilegingMonitorOf, GUESTS, LIMIT } from "../machine/rig.ts";

const FRIENDLY = ["kernel", "kstorm", "t-paging", "syscall-sysenter", "t-debug"];
/** Guests that look for a way in; t-hostile itself takes too long for every day. */
const HOSTILE = [
  ...["t-top", "t-segments-odd"],
  ...(process.env.RINGLAB_LONG_TESTS === undefined ? [] : ["t-hostile", "t-limits", "t-flow"]),
];

const run = (technique: "classical" | "bt", guest: string) => {
  const rig = boot({ technique, guest, engine: null, pmapLayout: "shuffled" });
  const observer = deprivilegingMonitorOf(rig.machine).observeRegion();
  rig.machine.run(10 * LIMIT);
  return observer;
};

describe.each(["classical", "bt"] as const)("under %s", (technique) => {
  test.each([...FRIENDLY, ...HOSTILE].filter((guest) => GUESTS.includes(guest)))(
    "%s makes no store into the monitor's region",
    (guest) => {
      const { foreign, counts } = run(technique, guest);
      expect(foreign).toEqual([]);
      expect(counts.monitor).toBeGreaterThan(0);
      expect(counts.hardware).toBeGreaterThan(0);
      if (technique === "bt") expect(counts.emitted).toBeGreaterThan(0);
    },
    300_000,
  );
});

test("the observer tells a store of the guest from one of the monitor, of a delivery, and of the translator's", () => {
  const rig = boot({ technique: "classical", guest: "kernel" });
  const { core, memory } = rig.machine;
  const pages = 37;
  const region = new MonitorRegion(memory, 16, pages + 4, 0);
  const observer = new RegionObserver({ core, memory, region, pages, emitsStore: (address) => address === 0x1000 });
  core.state.setSegment(SEG.cs, 8, 0, 0xffffffff, 0xc0bb);
  core.state.set(CELL.cpl, 1);
  const store = (page: number, eip: number): void => {
    core.state.eip = eip;
    memory.write32(region.host(page) + 16, 1);
  };
  store(REGION_PAGE.gdt, 0x2000);
  expect(observer.counts).toEqual({ monitor: 1, hardware: 0, emitted: 0 });
  core.running = true;
  store(REGION_PAGE.data, 0x1000);
  store(REGION_PAGE.data, 0x2000);
  store(REGION_PAGE.gdt, 0x1000);
  core.state.set(CELL.cpl, 0);
  store(REGION_PAGE.stack, 0x3000);
  expect(observer.counts).toEqual({ monitor: 2, hardware: 0, emitted: 1 });
  expect(observer.foreign).toEqual([
    { address: regionAddress(REGION_PAGE.data) + 16, bytes: 4, eip: 0x2000, cpl: 1 },
    { address: regionAddress(REGION_PAGE.gdt) + 16, bytes: 4, eip: 0x1000, cpl: 1 },
  ]);
});
