/**
 * `npm run bench:peers`: the same guest image on other simulators, in turn on this machine, and how many times as fast we are.
 * What is compared is one more round of the guest: the time of a long run less that of a short one, so that nobody's start
 * counts. What is not installed is left out. Every run's output is compared with ours: a peer that computed something else
 * has not run the same guest.
 *
 *   --workload NAME   compute (usual) or kstorm
 *   --rounds N        times that each runs (5)
 *   --technique NAME  ours, several times if wanted: native (usual)
 *   --reference       keeps the run as results/bench/peers.json
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { IMAGES_FOLDER, shown } from "../experiments/paths.ts";
import { runGuest } from "./guest.ts";
import { BOCHS } from "./peers/bochs.ts";
import { type Peer, runPeer, timelessLines } from "./peers/peer.ts";
import { QEMU_ICOUNT, QEMU_PLAIN, QEMU_PLUGIN } from "./peers/qemu.ts";
import { ringlab } from "./peers/ringlab.ts";
import { V86 } from "./peers/v86.ts";
import { type Measured, newRecord, previousRecord, saveRecord } from "./record.ts";
import { cautions, HEADING, machineLine, measuredLine } from "./report.ts";
import { intervalOf } from "./statistics.ts";

const MEMORY_MB = 64;
const LIMIT_SECONDS = 300;

/**
 * Rounds of the guest, by the workload: a short run, and long ones, so long that the time that compilers take, ours and
 * theirs, is a small part of them; those that are slow take fewer.
 */
const SCALES: Readonly<Record<string, Readonly<Record<"short" | "quick" | "slow" | "slowest", number>>>> = {
  compute: { short: 10, quick: 4000, slow: 1000, slowest: 200 },
  kstorm: { short: 10, quick: 3000, slow: 500, slowest: 500 },
};
const SLOW: ReadonlyMap<Peer, "slow" | "slowest"> = new Map([
  [V86, "slow"],
  [BOCHS, "slowest"],
]);

const { values } = parseArgs({
  options: {
    workload: { type: "string", default: "compute" },
    rounds: { type: "string", default: "5" },
    technique: { type: "string", multiple: true, default: ["native"] },
    reference: { type: "boolean", default: false },
  },
});
const scales = SCALES[values.workload];
if (scales === undefined) throw new Error(`--workload: there are ${Object.keys(SCALES).join(" and ")}`);
const image = join(IMAGES_FOLDER, `${values.workload}.elf`);

/** What the guest says and how many instructions it executes at a scale, by our own count. */
const known = new Map<number, { readonly instructions: number; readonly lines: string }>();
for (const scale of Object.values(scales)) {
  const { result } = runGuest({ workload: values.workload, technique: "native", commandLine: `scale=${scale}` });
  known.set(scale, { instructions: result.instructions, lines: timelessLines(result.serial) });
}

const facts = newRecord();
const previous = previousRecord(`peers-${values.workload}`);
console.log(`${values.workload}, ${facts.code}, on ${machineLine(facts.machine)}`);
for (const caution of cautions(facts, previous)) console.log(`(${caution})`);

const peers = [...values.technique.map(ringlab), V86, BOCHS, QEMU_PLAIN, QEMU_PLUGIN, QEMU_ICOUNT];
const running = new Map<Peer, number[]>();
for (const peer of peers) {
  const state = peer.present();
  if ("absent" in state) console.log(`${peer.name}: left out, ${state.absent}`);
  else {
    console.log(`${peer.name}: ${state.version}, counts ${peer.counts}`);
    running.set(peer, []);
  }
}

const folder = mkdtempSync(join(tmpdir(), "ringlab-peers-"));
try {
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [peer, rates] of [...running]) {
      const long = scales[SLOW.get(peer) ?? "quick"];
      try {
        const rate = await instructionsPerSecond(peer, scales.short, long);
        // On a host that is busy with something else the short run may be the longer one.
        if (rate > 0) rates.push(rate / 1e6);
      } catch (error) {
        running.delete(peer);
        console.log(`${peer.name}: left out, ${(error as Error).message}`);
      }
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const measured: Measured[] = [...running]
  .filter(([, samples]) => samples.length > 0)
  .map(([{ name }, samples]) => ({
    ...{ name, unit: "M instructions/s", better: "more" as const, samples },
  }));
console.log(`\n${HEADING}`);
for (const each of measured) {
  const before = previous?.record.measured.find(({ name }) => name === each.name);
  console.log(measuredLine(each, before));
}
const [ours, ...others] = measured;
console.log("");
for (const other of others) {
  const ratio = intervalOf(ours?.samples ?? []).median / intervalOf(other.samples).median;
  console.log(`${ours?.name} is ${ratio.toFixed(2)} times as fast as ${other.name}`);
}
console.log(`\nkept in ${shown(saveRecord({ ...facts, measured }, `peers-${values.workload}`, values.reference))}`);

/** Guest instructions per second between a short and a long run. */
async function instructionsPerSecond(peer: Peer, short: number, long: number): Promise<number> {
  const seconds = (await timed(peer, long)) - (await timed(peer, short));
  const instructions = (scale: number) => known.get(scale)?.instructions ?? 0;
  return (instructions(long) - instructions(short)) / seconds;
}

async function timed(peer: Peer, scale: number): Promise<number> {
  const process_ = peer.start({ image, commandLine: `scale=${scale}`, memoryMb: MEMORY_MB, folder });
  const { seconds, lines } = await runPeer(process_, LIMIT_SECONDS);
  if (lines !== known.get(scale)?.lines) throw new Error(`the guest said something else: ${lines.slice(-200)}`);
  return seconds;
}
