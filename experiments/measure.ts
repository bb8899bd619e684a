/**
 * Measuring a run from its markers: regions (ticks, iterations, instructions, exits, walks), and on request one
 * iteration of a region itemised charge by charge. It only listens; the machine does not know.
 */
import type { Account, Ledger } from "../sim/ledger.ts";
import { type ExitRecord, MARKER_KINDS, type Observer } from "../sim/observer.ts";
import type { CostItem, Explanation, RegionMeasure } from "../sim/result.ts";

/** What a measurement reads besides markers and exits; the machine exists only after its observer. */
export interface MeasuredMachine {
  readonly ledger: Ledger;
  /** Walks that TLB misses have made so far. */
  readonly walks: () => number;
}

interface Span {
  iterations: number;
  ticks: number;
  instructions: number;
  walks: number;
  readonly exits: Record<string, number>;
}

interface Start {
  readonly now: number;
  readonly instructions: number;
  readonly walks: number;
}

const emptySpan = (): Span => ({ iterations: 0, ticks: 0, instructions: 0, walks: 0, exits: {} });

export class Measurement implements Observer {
  readonly #regions = new Map<number, { measured: Span; baseline: Span }>();
  readonly #onExit: ((record: ExitRecord) => void) | undefined;
  readonly #explained: number | undefined;
  #machine: MeasuredMachine | null = null;
  #span: Span | null = null;
  #start: Start = { now: 0, instructions: 0, walks: 0 };
  #items: ItemList | null = null;
  #explainedMeasured: Explanation | null = null;
  #explainedBaseline: Explanation | null = null;

  constructor(explainRegion?: number, onExit?: (record: ExitRecord) => void) {
    this.#explained = explainRegion;
    this.#onExit = onExit;
  }

  /** Begins to listen to a machine. */
  attach(machine: MeasuredMachine): void {
    this.#machine = machine;
    if (this.#explained === undefined) return;
    machine.ledger.onCharge = (account, ticks, label) => this.#items?.add(machine.ledger, account, ticks, label);
  }

  marker(kind: number, region: number, now: number): void {
    switch (kind) {
      case MARKER_KINDS.regionBegin:
      case MARKER_KINDS.baselineBegin:
        this.#begin(kind === MARKER_KINDS.regionBegin, region, now);
        break;
      case MARKER_KINDS.iteration:
        if (this.#span !== null) this.#iteration(now);
        break;
      default:
        this.#finish(now);
    }
  }

  exit(record: ExitRecord): void {
    if (this.#span !== null) this.#span.exits[record.cause] = (this.#span.exits[record.cause] ?? 0) + 1;
    this.#onExit?.(record);
  }

  regions(): RegionMeasure[] {
    return [...this.#regions]
      .sort(([a], [b]) => a - b)
      .map(([region, { measured, baseline }]) => ({
        region,
        iterations: measured.iterations,
        ticks: measured.ticks,
        baselineIterations: baseline.iterations,
        baselineTicks: baseline.ticks,
        instructions: measured.instructions,
        exits: measured.exits,
        baselineExits: baseline.exits,
        walks: measured.walks,
        baselineWalks: baseline.walks,
      }));
  }

  /** The last complete iteration of the explained region, measured and baseline. */
  explanation(): { measured: Explanation; baseline: Explanation | null } | null {
    if (this.#explainedMeasured === null) return null;
    return { measured: this.#explainedMeasured, baseline: this.#explainedBaseline };
  }

  #begin(measured: boolean, region: number, now: number): void {
    let spans = this.#regions.get(region);
    if (spans === undefined) {
      spans = { measured: emptySpan(), baseline: emptySpan() };
      this.#regions.set(region, spans);
    }
    this.#span = measured ? spans.measured : spans.baseline;
    this.#start = { now, instructions: this.#instructions(), walks: this.#machine?.walks() ?? 0 };
    if (region === this.#explained) this.#items = new ItemList(region, measured);
  }

  #iteration(now: number): void {
    (this.#span as Span).iterations++;
    const items = this.#items;
    if (items === null) return;
    const complete = items.next((this.#span as Span).iterations - 1, now);
    if (complete === null) return;
    if (items.measured) this.#explainedMeasured = complete;
    else this.#explainedBaseline = complete;
  }

  #finish(now: number): void {
    const span = this.#span;
    if (span === null) return;
    span.ticks += now - this.#start.now;
    span.instructions += this.#instructions() - this.#start.instructions;
    span.walks += (this.#machine?.walks() ?? 0) - this.#start.walks;
    this.#span = null;
    this.#items = null;
  }

  #instructions(): number {
    return this.#machine?.ledger.retiredIn(["guest-user", "guest-kernel"]) ?? 0;
  }
}

/** Charges since the last iteration marker, by what they were for. */
class ItemList {
  readonly region: number;
  readonly measured: boolean;
  #items = new Map<string, { count: number; ticks: number }>();
  #since = -1;

  constructor(region: number, measured: boolean) {
    this.region = region;
    this.measured = measured;
  }

  add(ledger: Ledger, account: Account, ticks: number, label: string): void {
    if (this.#since < 0 || ticks === 0) return;
    const { domain, activity } = ledger.nameOf(account);
    const name = itemName(domain, activity, label);
    const item = this.#items.get(name) ?? { count: 0, ticks: 0 };
    item.count++;
    item.ticks += ticks;
    this.#items.set(name, item);
  }

  /** An iteration marker: what was collected is one iteration, unless it is the first marker. */
  next(iteration: number, now: number): Explanation | null {
    const items: CostItem[] = [...this.#items].map(([name, item]) => ({ name, ...item }));
    const complete = this.#since < 0 ? null : { region: this.region, iteration, ticks: now - this.#since, items };
    this.#items = new Map();
    this.#since = now;
    return complete;
  }
}

/** Names of hardware costs as the manuals write them. */
const HARDWARE: Readonly<Record<string, string>> = {
  vmexit: "VM exit",
  vmentry: "VM entry",
  vmread: "VMREAD",
  vmwrite: "VMWRITE",
  walkStart: "page walk: start",
  walkReference: "page walk: reference",
  walkUpdate: "page walk: A or D set",
  tlbSecondLevel: "second-level TLB hit",
  pageFault: "#PF delivery",
  exception: "exception delivery",
  interrupt: "interrupt delivery",
  intSame: "INT delivery",
  intInner: "INT delivery with stack switch",
  iretSame: "IRET",
  iretOuter: "IRET to an outer ring",
  mispredict: "mispredicted branch",
  slowPortRead: "slow bus: port read",
  slowPortWrite: "slow bus: port write",
  apicRead: "local APIC read",
  apicWrite: "local APIC write",
  interruptAcknowledge: "interrupt acknowledge cycle",
};

/** What a charge was for, as a line of `explain`. */
function itemName(domain: string, activity: string, label: string): string {
  if (label === "") return activity === "instructions" ? `${domain}: instructions` : `${domain}: ${activity}`;
  if (label.startsWith("step:")) return `monitor software: ${label.slice(5)}`;
  if (domain === "monitor" && (label === "load" || label === "store")) return `monitor software: memory ${label}s`;
  const name = HARDWARE[label] ?? label;
  return activity === "walk" ? `${domain}: ${name}` : name;
}
