/**
 * A PS/2 keyboard (IBM PS/2 technical reference, keyboard, 101/102 keys): commands and their answers, scan code set 2,
 * a buffer of 16 bytes. The board's user types by key codes; a typist faster than the guest waits, as the serial
 * ports' sender does, so that nothing that a script sends is lost.
 *
 * Left out: sets 1 and 3 (set 3's commands are acknowledged and do nothing), typematic repeat (a held key sends
 * its code once; the rate is acknowledged), the time that bytes and self test take.
 */

/** Answers and commands of the keyboard and the mouse. */
export const PS2 = {
  ack: 0xfa,
  resend: 0xfe,
  testPassed: 0xaa,
  reset: 0xff,
  setDefaults: 0xf6,
  disable: 0xf5,
  enable: 0xf4,
} as const;

const COMMAND = {
  leds: 0xed,
  echo: 0xee,
  scanCodeSet: 0xf0,
  identify: 0xf2,
  rate: 0xf3,
  keyMake: 0xfb,
  keyMakeBreak: 0xfc,
  keyTypematic: 0xfd,
} as const;
const IDENTITY = [0xab, 0x83] as const;
const BUFFER_BYTES = 16;
const BREAK = 0xf0;

export interface Ps2KeyboardState {
  readonly leds: number;
  readonly enabled: boolean;
  /** The command whose parameter comes next, 0 for none. */
  readonly command: number;
  /** The byte sent last, for Resend. */
  readonly last: number;
  readonly buffer: readonly number[];
  /** Codes of keys that the buffer had no room for yet, one array a key event. */
  readonly typed: readonly (readonly number[])[];
}

export class Ps2Keyboard {
  #leds = 0;
  #enabled = true;
  #command = 0;
  #last = 0;
  #buffer: number[] = [];
  #typed: (readonly number[])[] = [];

  /** LEDs: bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock. */
  get leds(): number {
    return this.#leds;
  }

  /** Power-on: the self test has passed and says so. */
  reset(): void {
    this.#typed = [];
    this.#powerOn();
  }

  save(): Ps2KeyboardState {
    return {
      leds: this.#leds,
      enabled: this.#enabled,
      command: this.#command,
      last: this.#last,
      buffer: [...this.#buffer],
      typed: this.#typed.map((codes) => [...codes]),
    };
  }

  restore(data: Ps2KeyboardState): void {
    this.#leds = data.leds;
    this.#enabled = data.enabled;
    this.#command = data.command;
    this.#last = data.last;
    this.#buffer = [...data.buffer];
    this.#typed = data.typed.map((codes) => [...codes]);
  }

  /** A key goes down or up. `make` is its make code in set 2, with its E0h or E1h prefix. */
  key(make: readonly number[], down: boolean): void {
    this.#typed.push(down ? make : breakCode(make));
    this.#fill();
  }

  /** The next byte for the controller; undefined when there is none. */
  take(): number | undefined {
    const byte = this.#buffer.shift();
    if (byte !== undefined) this.#last = byte;
    this.#fill();
    return byte;
  }

  /** A byte from the controller: a command or its parameter. */
  receive(byte: number): void {
    const command = this.#command;
    this.#command = 0;
    // A command in place of a parameter ends the command before.
    if (command !== 0 && byte < 0x80) this.#parameter(command, byte);
    else this.#receiveCommand(byte);
    this.#fill();
  }

  #receiveCommand(byte: number): void {
    switch (byte) {
      case COMMAND.leds:
      case COMMAND.scanCodeSet:
      case COMMAND.rate:
      case COMMAND.keyMake:
      case COMMAND.keyMakeBreak:
      case COMMAND.keyTypematic:
        this.#command = byte;
        this.#send(PS2.ack);
        return;
      case COMMAND.echo:
        this.#send(COMMAND.echo);
        return;
      case COMMAND.identify:
        this.#send(PS2.ack, ...IDENTITY);
        return;
      case PS2.enable:
        this.#buffer = [];
        this.#enabled = true;
        this.#send(PS2.ack);
        return;
      case PS2.disable:
      case PS2.setDefaults:
        this.#buffer = [];
        this.#enabled = byte === PS2.setDefaults;
        this.#send(PS2.ack);
        return;
      case PS2.resend:
        this.#buffer.unshift(this.#last);
        return;
      case PS2.reset:
        this.#powerOn();
        this.#buffer.unshift(PS2.ack);
        return;
      default:
        // F7h to FAh make all keys of set 3 alike; nothing else is a command.
        this.#send(byte >= 0xf7 && byte <= 0xfa ? PS2.ack : PS2.resend);
    }
  }

  #parameter(command: number, value: number): void {
    if (command === COMMAND.leds) this.#leds = value & 7;
    if (command === COMMAND.scanCodeSet && value === 0) this.#send(PS2.ack, 2);
    else if (command === COMMAND.scanCodeSet && value !== 2) this.#send(PS2.resend);
    else this.#send(PS2.ack);
  }

  #powerOn(): void {
    this.#leds = 0;
    this.#enabled = true;
    this.#command = 0;
    this.#buffer = [PS2.testPassed];
  }

  #send(...bytes: readonly number[]): void {
    this.#buffer.push(...bytes);
  }

  /** Takes what has been typed while there is room. */
  #fill(): void {
    while (this.#enabled) {
      const codes = this.#typed[0];
      if (codes === undefined || this.#buffer.length + codes.length > BUFFER_BYTES) return;
      this.#buffer.push(...codes);
      this.#typed.shift();
    }
  }
}

/** F0h stands before the last byte of a code, and before every byte but the prefix of Pause. */
function breakCode(make: readonly number[]): readonly number[] {
  // Pause sends make and break at once, when it goes down.
  if (make[0] === 0xe1) return [];
  return [...make.slice(0, -1), BREAK, make[make.length - 1] as number];
}
