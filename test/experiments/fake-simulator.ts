// A deterministic stand-in for the simulator: results with the shape and rough size of real ones, from the request alone.

import type { Point } from "../../experiments/point.ts";
import type { Executor } from "../../experiments/pool.ts";
import { Session } from "../../experiments/session.ts";
import type { SimulationRequest } from "../../experiments/simulate.ts";
import { runTask } from "../../experiments/task.ts";
import type { VerifiedResult } from "../../experiments/verify/sessions.ts";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import type { RunResult } from "../../sim/result.ts";

function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const char of text) value = Math.imul(value ^ char.charCodeAt(0), 0x01000193) >>> 0;
  return value;
}

/** What a request asks for, as a result: an exit per iteration under vtx when the image's size is odd, and so on. */
export function fakeSimulate(request: SimulationRequest): RunResult {
  const { image, profile, technique, commandLine } = request;
  const kind = hash(`${image.bytes.length}/${commandLine}`);
  const iterations = 1000;
  const exits = technique === "vtx" && kind % 2 === 0 ? 1 : 0;
  const native = 12 + (kind % 36000);
  const transition = (profile.costs.vmexit.value + profile.costs.vmentry.value) * TICKS_PER_CYCLE;
  const handler = 10 * profile.costs.vmread.value * TICKS_PER_CYCLE + 9706 * TICKS_PER_CYCLE;
  const perIteration = exits === 1 ? transition + handler : native;
  const baseline = 36;
  const jitter = request.seed % 5;
  request.onSerial?.("fake guest\nt: 12\nexit 0\n");
  if (exits === 1) {
    request.onExit?.({
      ...{ time: 1200, reason: "io-instruction", cause: "port-io", qualification: 0x800000, cs: 8, eip: 0x100123 },
      ...{ hardwareTicks: transition, monitorTicks: handler },
    });
  }
  const ticks = iterations * (perIteration + 2 * baseline) + jitter;
  return {
    end: { kind: "exit", status: 0 },
    serial: "fake guest\nt: 12\nexit 0\n",
    digest: [kind],
    ticks,
    frequencyMHz: profile.frequencyMHz,
    accounts: [
      {
        domain: "guest-kernel",
        activity: "instructions",
        ticks: ticks - (exits === 1 ? iterations * perIteration : 0),
        retired: 5000,
      },
      ...(exits === 0
        ? []
        : ([
            { domain: "monitor", activity: "transition", ticks: iterations * transition, retired: 0 },
            { domain: "monitor", activity: "service:port-io", ticks: iterations * handler, retired: 0 },
          ] as const)),
    ],
    instructions: 5000,
    exits:
      exits === 0
        ? []
        : [
            {
              ...{ reason: "io-instruction", cause: "port-io", count: iterations },
              ...{ hardwareTicks: iterations * transition, monitorTicks: iterations * handler },
              ...{ monitorTicksMin: handler, monitorTicksMax: handler },
            },
          ],
    counters: { "tlb.data.misses": 7, "fault.true": 0 },
    regions: [
      {
        ...{ region: 0, iterations, ticks: iterations * (perIteration + baseline) + jitter },
        ...{ baselineIterations: iterations, baselineTicks: iterations * baseline, instructions: 3000 },
        ...{ exits: exits === 0 ? {} : { "port-io": iterations }, baselineExits: {}, walks: 0, baselineWalks: 0 },
      },
    ],
    ticksLost: 0,
    ...(request.explainRegion === undefined
      ? {}
      : {
          explanation: {
            measured: {
              ...{ region: 0, iteration: 500, ticks: perIteration + baseline },
              items:
                exits === 0
                  ? [{ name: "work", count: 1, ticks: native + baseline }]
                  : [
                      { name: "vmexit", count: 1, ticks: profile.costs.vmexit.value * TICKS_PER_CYCLE },
                      { name: "vmread", count: 10, ticks: 10 * profile.costs.vmread.value * TICKS_PER_CYCLE },
                      { name: "service:port-io", count: 1, ticks: 9706 * TICKS_PER_CYCLE },
                      { name: "vmentry", count: 1, ticks: profile.costs.vmentry.value * TICKS_PER_CYCLE },
                      { name: "work", count: 1, ticks: baseline },
                    ],
            },
            baseline: {
              region: 0,
              iteration: 500,
              ticks: baseline,
              items: [{ name: "work", count: 1, ticks: baseline }],
            },
          },
        }),
  };
}

/** An executor in this thread; `behave` may return another result, or throw, for some points. */
export function fakeExecutor(
  behave: (point: Point, result: RunResult) => VerifiedResult | Promise<VerifiedResult> = (_, r) => r,
): Executor & { ran: Point[] } {
  const ran: Point[] = [];
  return {
    width: 2,
    ran,
    async run(task, onSerial) {
      ran.push(task.point);
      return behave(task.point, runTask(task, fakeSimulate, onSerial));
    },
    async close() {},
  };
}

/** A session of a guest that has ended at once, with this result. */
export class EndedSession extends Session {
  readonly #result: RunResult;

  constructor(request: SimulationRequest, result: RunResult) {
    super(request);
    this.#result = result;
  }

  override run() {
    return this.#result.end;
  }

  override result(): RunResult {
    return this.#result;
  }
}
