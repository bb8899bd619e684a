/**
 * A PS/2 mouse with three buttons (IBM PS/2 technical reference, mouse): stream and remote mode, resolution, scaling,
 * wrap mode. Movement gathers in the counters until a packet of three bytes has room.
 *
 * Left out: the sample rate is kept and told, but does not delay packets; the wheel's identity (rates 200, 100, 80);
 * the time that bytes and self test take. Distances are given in counts at the default resolution.
 */
import { PS2 } from "./ps2-keyboard.ts";

const COMMAND = {
  scaling1: 0xe6,
  scaling2: 0xe7,
  resolution: 0xe8,
  status: 0xe9,
  stream: 0xea,
  readData: 0xeb,
  wrapEnd: 0xec,
  wrap: 0xee,
  remote: 0xf0,
  identify: 0xf2,
  sampleRate: 0xf3,
} as const;
const STATUS = { scaling2: 0x10, reporting: 0x20, remote: 0x40 } as const;
const IDENTITY = 0;
/** Counters are 9 bits, signed. */
const COUNTER = { least: -256, most: 255 } as const;
const BUFFER_BYTES = 16;
const PACKET = { alwaysOne: 0x08, xSign: 0x10, ySign: 0x20, xOverflow: 0x40, yOverflow: 0x80 } as const;

/** Buttons: bit 0 left, 1 right, 2 middle. */
export interface Ps2MouseState {
  readonly reporting: boolean;
  readonly remote: boolean;
  readonly wrap: boolean;
  readonly scaling2: boolean;
  readonly resolution: number;
  readonly sampleRate: number;
  readonly command: number;
  readonly last: readonly number[];
  readonly buffer: readonly number[];
  readonly buttons: number;
  /** Buttons as the last packet told them. */
  readonly toldButtons: number;
  readonly x: number;
  readonly y: number;
}

const DEFAULTS = { reporting: false, remote: false, wrap: false, scaling2: false, resolution: 2, sampleRate: 100 };
const RESET: Ps2MouseState = {
  ...DEFAULTS,
  command: 0,
  last: [PS2.testPassed, IDENTITY],
  buffer: [PS2.testPassed, IDENTITY],
  buttons: 0,
  toldButtons: 0,
  x: 0,
  y: 0,
};

type Arrays = "buffer" | "last";
type Working = { -readonly [K in Exclude<keyof Ps2MouseState, Arrays>]: Ps2MouseState[K] } & Record<Arrays, number[]>;
const copy = (data: Ps2MouseState): Working => ({ ...data, buffer: [...data.buffer], last: [...data.last] });

export class Ps2Mouse {
  #state: Working = copy(RESET);

  /** Power-on: the self test has passed and says so. */
  reset(): void {
    this.#state = copy(RESET);
  }

  save(): Ps2MouseState {
    return copy(this.#state);
  }

  restore(data: Ps2MouseState): void {
    this.#state = copy(data);
  }

  /** Moves by counts to the right and upwards, and sets the buttons. */
  move(right: number, up: number, buttons: number): void {
    const s = this.#state;
    s.x += Math.trunc(right);
    s.y += Math.trunc(up);
    s.buttons = buttons & 7;
    this.#report();
  }

  /** The next byte for the controller; undefined when there is none. */
  take(): number | undefined {
    const byte = this.#state.buffer.shift();
    this.#report();
    return byte;
  }

  /** A byte from the controller: a command or its parameter. */
  receive(byte: number): void {
    const s = this.#state;
    const command = s.command;
    s.command = 0;
    if (s.wrap && byte !== PS2.reset && byte !== COMMAND.wrapEnd) {
      s.buffer.push(byte);
      return;
    }
    if (command !== 0) this.#parameter(command, byte);
    else if (byte === PS2.resend) s.buffer = [...s.last];
    else this.#send(...this.#answerTo(byte));
    this.#report();
  }

  /** Carries out a command; what the mouse answers. */
  #answerTo(byte: number): readonly number[] {
    const s = this.#state;
    // Whatever a command interrupts is not sent.
    s.buffer = [];
    switch (byte) {
      case COMMAND.scaling1:
      case COMMAND.scaling2:
        s.scaling2 = byte === COMMAND.scaling2;
        return [PS2.ack];
      case COMMAND.resolution:
      case COMMAND.sampleRate:
        s.command = byte;
        return [PS2.ack];
      case COMMAND.status:
        return [PS2.ack, this.#statusByte(), s.resolution, s.sampleRate];
      case COMMAND.readData:
        return [PS2.ack, ...this.#packet()];
      case COMMAND.stream:
      case COMMAND.remote:
        s.remote = byte === COMMAND.remote;
        this.#clearCounters();
        return [PS2.ack];
      case COMMAND.wrap:
      case COMMAND.wrapEnd:
        s.wrap = byte === COMMAND.wrap;
        return [PS2.ack];
      case COMMAND.identify:
        return [PS2.ack, IDENTITY];
      case PS2.enable:
      case PS2.disable:
        s.reporting = byte === PS2.enable;
        this.#clearCounters();
        return [PS2.ack];
      case PS2.setDefaults:
        Object.assign(s, DEFAULTS);
        this.#clearCounters();
        return [PS2.ack];
      case PS2.reset:
        Object.assign(s, DEFAULTS);
        this.#clearCounters();
        return [PS2.ack, PS2.testPassed, IDENTITY];
      default:
        return [PS2.resend];
    }
  }

  #parameter(command: number, value: number): void {
    const s = this.#state;
    const refused = command === COMMAND.resolution && value > 3;
    if (command === COMMAND.sampleRate) s.sampleRate = value;
    else if (!refused) s.resolution = value;
    this.#send(refused ? PS2.resend : PS2.ack);
  }

  #statusByte(): number {
    const { buttons, scaling2, reporting, remote } = this.#state;
    const modes = (scaling2 ? STATUS.scaling2 : 0) | (reporting ? STATUS.reporting : 0) | (remote ? STATUS.remote : 0);
    // Here the left button is bit 2, the middle one bit 1 and the right one bit 0.
    return modes | ((buttons & 1) << 2) | ((buttons & 4) >> 1) | ((buttons & 2) >> 1);
  }

  /** Sends packets while there is movement to tell and room for it. */
  #report(): void {
    const s = this.#state;
    if (!s.reporting || s.remote || s.wrap) return;
    while ((s.x !== 0 || s.y !== 0 || s.buttons !== s.toldButtons) && s.buffer.length + 3 <= BUFFER_BYTES) {
      this.#send(...this.#packet());
    }
  }

  /** As much of the movement as fits into one packet. */
  #packet(): readonly number[] {
    const s = this.#state;
    const x = Math.min(Math.max(s.x, COUNTER.least), COUNTER.most);
    const y = Math.min(Math.max(s.y, COUNTER.least), COUNTER.most);
    s.x -= x;
    s.y -= y;
    s.toldButtons = s.buttons;
    const scaled = (count: number): number => (s.scaling2 && !s.remote ? scaleTwo(count) : count);
    const [dx, dy] = [scaled(x), scaled(y)];
    const signs = (dx < 0 ? PACKET.xSign : 0) | (dy < 0 ? PACKET.ySign : 0);
    const over = (value: number): boolean => value < COUNTER.least || value > COUNTER.most;
    const overflow = (over(dx) ? PACKET.xOverflow : 0) | (over(dy) ? PACKET.yOverflow : 0);
    return [PACKET.alwaysOne | s.buttons | signs | overflow, dx & 0xff, dy & 0xff];
  }

  #clearCounters(): void {
    this.#state.x = 0;
    this.#state.y = 0;
  }

  #send(...bytes: readonly number[]): void {
    this.#state.buffer.push(...bytes);
    this.#state.last = [...bytes];
  }
}

/** Scaling 2:1: small counts are damped, large ones doubled. */
function scaleTwo(count: number): number {
  const size = Math.abs(count);
  const small = [0, 1, 1, 3, 6, 9][size];
  return Math.sign(count) * (small ?? size * 2);
}
