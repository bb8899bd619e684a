/**
 * A guest that runs in pieces: whoever owns the session decides how far it goes each time, sends it input between two
 * pieces, looks at it, and asks for the result at the end. How a run is cut makes no difference to it.
 */
import { load, planBoot } from "../sim/boot.ts";
import { TICKS_PER_CYCLE } from "../sim/clock.ts";
import { boardFor } from "../sim/devices/board.ts";
import { type KeyEvent, Machine, type SavedMachine, type TechniqueName } from "../sim/machine.ts";
import type { RunEnd, RunResult } from "../sim/result.ts";
import { useBranchHints } from "./branch-hints.ts";
import { guestImage, readBios } from "./images.ts";
import { Measurement } from "./measure.ts";
import { Samples } from "./samples.ts";
import { type SavedScript, SCREEN_PERIOD_SECONDS, Script } from "./script.ts";
import type { SimulationRequest } from "./simulate.ts";

/** How far a piece of a run goes. */
export interface Piece {
  /** Ticks of the clock at which it is over at the latest. */
  readonly until: number;
  /** One guest instruction only. */
  readonly step?: boolean;
  /** Linear addresses before whose instructions to stop. */
  readonly breakpoints?: ReadonlySet<number>;
}

/** A session as plain data. */
export interface SavedSession {
  readonly machine: SavedMachine;
  readonly script: SavedScript;
  readonly look: number;
  readonly end: RunEnd | null;
}

useBranchHints();

export class Session {
  readonly machine: Machine;
  readonly #request: SimulationRequest;
  readonly #measurement: Measurement;
  readonly #serial: string[] = [];
  readonly #script: Script;
  readonly #samples: Samples;
  readonly #screenPeriod: number;
  readonly #limit: number;
  /** The next look at the screen for a script, in ticks. */
  #look = 0;
  #end: RunEnd | null = null;

  /** A machine with the guest loaded, before its first instruction. */
  constructor(request: SimulationRequest) {
    this.#request = request;
    this.#limit = request.maxCycles * TICKS_PER_CYCLE;
    this.#samples = new Samples(request.samples ?? 0);
    this.#measurement = new Measurement(request.explainRegion, request.onExit);
    const boot = planBoot(guestImage(request.image), {
      commandLine: request.commandLine,
      memoryBytes: request.guestMemoryBytes,
      ...(request.disks === undefined ? {} : { disks: request.disks }),
      ...(request.echoScreen === undefined ? {} : { echoScreen: request.echoScreen }),
    });
    const machine = new Machine({
      ...(boot.cpu === null ? { firmware: readBios() } : {}),
      disks: boot.disks,
      firmwareFiles: boot.firmwareFiles,
      profile: request.profile,
      board: boardFor(request.profile),
      technique: request.technique as TechniqueName,
      ...(request.techniqueParameters === undefined
        ? {}
        : // Checked against what the technique of this name has (technique-parameters.ts).
          { [request.technique]: request.techniqueParameters }),
      guestBytes: request.guestMemoryBytes,
      seed: request.seed,
      timerPhase: request.timerPhase,
      ...(request.engine === undefined ? {} : { engine: request.engine }),
      ...(request.resources === undefined ? {} : { resources: request.resources }),
      observer: this.#measurement,
      onSerial: (byte) => this.#heard(byte),
    });
    this.machine = machine;
    this.#measurement.attach({ ledger: machine.ledger, walks: () => machine.core.mmu.walksFromMisses });
    load(machine, boot);
    this.#screenPeriod = Math.round(machine.ledger.clock.ticksPerSecond * SCREEN_PERIOD_SECONDS);
    this.#script = new Script(request.script ?? [], {
      pause: () => machine.pause(),
      sendSerial: (bytes) => machine.sendSerial(bytes),
      sendKeys: (keys) => machine.sendKeys(keys),
      screen: () => machine.board.vga.text(),
    });
  }

  /** The clock, in ticks. */
  get now(): number {
    return this.machine.ledger.clock.now;
  }

  /** How the run ended; null while it can go on. */
  get end(): RunEnd | null {
    return this.#end;
  }

  /** The script: what is waited for, whether it is done. */
  get script(): Script {
    return this.#script;
  }

  /** Everything that the guest has sent so far. */
  get serial(): string {
    return this.#serial.join("");
  }

  /**
   * Runs on. Returns why: the end of the run, a breakpoint, or null when the piece is over. The run ends at
   * `maxCycles` ("limit"), where the script wants it ("quit"), and where the guest ends it. A guest that is asleep for
   * good may still be woken by input, and then runs on.
   */
  run(piece: Piece): RunEnd | { readonly kind: "quit" } | null {
    if (this.#end !== null) return this.#end;
    const clock = this.machine.ledger.clock;
    for (;;) {
      this.#samples.take(clock.now, () => this.machine.technique.counters());
      const until = Math.min(piece.until, this.#limit, this.#samples.due, this.#actScript());
      if (this.#script.quits) return { kind: "quit" };
      if (clock.now >= piece.until && clock.now < this.#limit) return null;
      // At the limit this asks only where the guest is.
      const end = this.machine.run(until, piece.step === true ? 1 : undefined, piece.breakpoints);
      if (end.kind === "breakpoint") return end;
      if (end.kind === "dead-halt" && end.asleep === true) {
        // The screen stays as it is: no need to wait until it is looked at.
        const step = this.#script.step;
        this.#script.act(true);
        if (step === this.#script.step) return end;
      } else if (end.kind !== "limit" || clock.now >= this.#limit) {
        this.#end = end;
        return end;
      }
      if (piece.step === true) return null;
    }
  }

  /** Lets the script act; when it wants to look at the screen next. */
  #actScript(): number {
    const now = this.now;
    const look = now >= this.#look;
    this.#script.act(look);
    if (this.#script.step?.kind !== "expect-screen") return Number.POSITIVE_INFINITY;
    if (look) this.#look = (Math.floor(now / this.#screenPeriod) + 1) * this.#screenPeriod;
    return this.#look;
  }

  sendSerial(bytes: readonly number[]): void {
    this.machine.sendSerial(bytes);
  }

  sendKeys(keys: readonly KeyEvent[]): void {
    this.machine.sendKeys(keys);
  }

  /** The machine and what the session knows beside it; what was measured and the output that was heard stay as they are. */
  save(): SavedSession {
    return { machine: this.machine.save(), script: this.#script.save(), look: this.#look, end: this.#end };
  }

  /** Restores what `save` of a session of the same request gave. */
  restore({ machine, script, look, end }: SavedSession): void {
    this.machine.restore(machine);
    this.#script.restore(script);
    this.#look = look;
    this.#end = end;
  }

  /** What the run tells, with this as its end. */
  result(end: RunEnd): RunResult {
    const { ledger, technique, core, board } = this.machine;
    const explanation = this.#measurement.explanation();
    return {
      end,
      serial: this.serial,
      digest: board.digest.words,
      ticks: ledger.clock.now,
      frequencyMHz: this.#request.profile.frequencyMHz,
      accounts: ledger.totals(),
      instructions: ledger.retiredIn(["guest-user", "guest-kernel"]),
      exits: technique.exits(),
      counters: { ...core.mmu.counters(), ...technique.counters() },
      regions: this.#measurement.regions(),
      ticksLost: board.ticksLost,
      ...(this.#request.samples === undefined
        ? {}
        : { samples: this.#samples.ending(ledger.clock.now, technique.counters()) }),
      ...(explanation === null ? {} : { explanation }),
    };
  }

  #heard(byte: number): void {
    const text = String.fromCharCode(byte);
    this.#serial.push(text);
    this.#request.onSerial?.(text);
    this.#script.heard(byte);
  }
}
