/**
 * The one door from experiments to the simulator: a request that says everything that a run depends on, and a result
 * that is plain data. The same request gives the same result, whatever runs beside it.
 */
import { bootCpu, bootSegments, type GuestImage } from "../sim/boot.ts";
import { TICKS_PER_CYCLE } from "../sim/clock.ts";
import type { Profile } from "../sim/cpu/profiles/profile.ts";
import { boardFor } from "../sim/devices/board.ts";
import { Machine, type TechniqueName } from "../sim/machine.ts";
import type { ExitRecord } from "../sim/observer.ts";
import type { RunResult } from "../sim/result.ts";
import { readElf } from "./elf.ts";
import type { Image } from "./images.ts";
import { Measurement } from "./measure.ts";

export interface SimulationRequest {
  readonly image: Image;
  /** Multiboot command line, without the image's name. */
  readonly commandLine: string;
  /** The processor, with `--set` applied. */
  readonly profile: Profile;
  readonly technique: string;
  readonly memoryModel: string;
  readonly guestMemoryBytes: number;
  /** The run ends with `limit` at the first instruction boundary at which this many cycles have passed. */
  readonly maxCycles: number;
  /** Seeds the replacement of TLBs that replace at random; an unsigned 32-bit number. */
  readonly seed: number;
  /** Ticks by which the timer's crystal is shifted against the clock; less than one of its periods. */
  readonly timerPhase: number;
  /** Itemise one iteration of this region (RunResult.explanation). */
  readonly explainRegion?: number;
  /** Called at each VM exit, in order. */
  readonly onExit?: (record: ExitRecord) => void;
  /** Called with what the guest writes to its serial port, as it does. */
  readonly onSerial?: (text: string) => void;
}

export type Simulate = (request: SimulationRequest) => RunResult;

/** Runs a guest from reset to its end. */
export function simulate(request: SimulationRequest): RunResult {
  const serial: string[] = [];
  const measurement = new Measurement(request.explainRegion, request.onExit);
  const machine = new Machine({
    profile: request.profile,
    board: boardFor(request.profile),
    technique: request.technique as TechniqueName,
    guestBytes: request.guestMemoryBytes,
    seed: request.seed,
    timerPhase: request.timerPhase,
    observer: measurement,
    onSerial: (byte) => {
      const text = String.fromCharCode(byte);
      serial.push(text);
      request.onSerial?.(text);
    },
  });
  measurement.attach({ ledger: machine.ledger, walks: () => machine.core.mmu.walksFromMisses });
  const image = guestImage(request.image);
  for (const { address, bytes } of bootSegments(image, request.commandLine, request.guestMemoryBytes)) {
    machine.technique.writeGuest(address, bytes);
  }
  machine.board.firmware();
  machine.technique.importCpu(bootCpu(image));

  const end = machine.run(request.maxCycles * TICKS_PER_CYCLE);
  const { ledger, technique, core, board } = machine;
  const explanation = measurement.explanation();
  return {
    end,
    serial: serial.join(""),
    digest: board.digest.words,
    ticks: ledger.clock.now,
    frequencyMHz: request.profile.frequencyMHz,
    accounts: ledger.totals(),
    instructions: ledger.retiredIn(["guest-user", "guest-kernel"]),
    exits: technique.exits(),
    counters: { ...core.mmu.counters(), ...technique.counters() },
    regions: measurement.regions(),
    ticksLost: board.ticksLost,
    ...(explanation === null ? {} : { explanation }),
  };
}

/** What the loader needs of an image that has been read and checked. */
export function guestImage(image: Image): GuestImage {
  if (image.kind === "flat") {
    const address = image.loadAddress as number;
    return {
      kind: "flat",
      segments: [{ address, bytes: image.bytes }],
      entry: address,
      end: address + image.bytes.length,
    };
  }
  const elf = readElf(image.bytes, "image");
  return {
    kind: image.kind,
    segments: elf.segments.map(({ physicalAddress, fileOffset, fileBytes }) => ({
      address: physicalAddress,
      bytes: image.bytes.subarray(fileOffset, fileOffset + fileBytes),
    })),
    entry: elf.entry,
    end: Math.max(...elf.segments.map((segment) => segment.physicalAddress + segment.memoryBytes)),
  };
}
