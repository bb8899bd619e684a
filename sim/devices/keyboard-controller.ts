/**
 * The keyboard controller of a PC, an 8042 at ports 60h and 64h (IBM PS/2 technical reference, "keyboard and auxiliary
 * device controller"), between the processor and a keyboard (IRQ1) and a mouse (IRQ12). It translates set 2 to set 1
 * when bit 6 of its command byte says so; pin 1 of its output port opens gate A20, pin 0 resets the processor.
 *
 * One output buffer for both: status bit 5 tells whose byte it is. A byte goes in as soon as the one before has been
 * read, the controller's own answers first, then the keyboard, then the mouse; each is an edge of its interrupt.
 *
 * Left out: bytes and commands take no time (the input buffer is always empty), no parity errors and time-outs, no
 * password, the controller's own RAM but for the command byte and what software stores there does nothing.
 */
import type { InterruptLine } from "./i8259.ts";
import type { PortDevice } from "./ports.ts";
import { Ps2Keyboard, type Ps2KeyboardState } from "./ps2-keyboard.ts";
import { Ps2Mouse, type Ps2MouseState } from "./ps2-mouse.ts";
import { KEYS, keyOf, translateScanCode } from "./scan-codes.ts";

const DATA_PORT = 0x60;
const STATUS = { outputFull: 1, systemFlag: 4, command: 8, unlocked: 0x10, mouseFull: 0x20 } as const;
const COMMAND_BYTE = {
  keyboardInterrupt: 1,
  mouseInterrupt: 2,
  systemFlag: 4,
  keyboardDisabled: 0x10,
  mouseDisabled: 0x20,
  translate: 0x40,
} as const;
/** Output port: pins 4 and 5 show the interrupts. */
const OUTPUT = { notReset: 0x01, a20: 0x02, keyboardFull: 0x10, mouseFull: 0x20, reset: 0xcf } as const;
/** Input port: keyboard not locked, no manufacturing jumper. */
const INPUT_PORT = 0xa0;
const TEST_PASSED = 0x55;
const INTERFACE_GOOD = 0x00;
const NO_PASSWORD = 0xf1;
const BREAK = 0xf0;
/** Firmware leaves the keyboard translated and on, the mouse off. */
const FIRMWARE_COMMAND_BYTE =
  COMMAND_BYTE.keyboardInterrupt | COMMAND_BYTE.systemFlag | COMMAND_BYTE.mouseDisabled | COMMAND_BYTE.translate;

type Source = "none" | "controller" | "keyboard" | "mouse";

export interface KeyboardControllerState {
  readonly ram: readonly number[];
  readonly outputPort: number;
  /** The byte in the output buffer, and who put it there. */
  readonly data: number;
  readonly source: Source;
  /** Answers of the controller that wait for the output buffer, with whom they seem to come from. */
  readonly answers: readonly (readonly [byte: number, source: Source])[];
  /** The command whose parameter port 60h takes next, 0 for none. */
  readonly command: number;
  readonly lastWasCommand: boolean;
  readonly breaking: boolean;
  readonly keyboard: Ps2KeyboardState;
  readonly mouse: Ps2MouseState;
}

export interface KeyboardControllerParts {
  readonly keyboardLine: InterruptLine;
  readonly mouseLine: InterruptLine;
  /** The output port has been written: A20 may have moved. */
  readonly onA20: () => void;
  /** Pin 0 of the output port has gone low. */
  readonly onReset: () => void;
}

export class KeyboardController implements PortDevice {
  readonly width = 1;
  readonly keyboard = new Ps2Keyboard();
  readonly mouse = new Ps2Mouse();
  readonly #parts: KeyboardControllerParts;
  #ram: number[] = [];
  #outputPort: number = OUTPUT.reset;
  #data = 0;
  #source: Source = "none";
  #answers: (readonly [byte: number, source: Source])[] = [];
  #command = 0;
  #lastWasCommand = false;
  /** F0h of a break code has been taken and is to be bit 7 of what follows. */
  #breaking = false;

  constructor(parts: KeyboardControllerParts) {
    this.#parts = parts;
  }

  /** Whether the output port holds A20 open. */
  get a20(): boolean {
    return (this.#outputPort & OUTPUT.a20) !== 0;
  }

  /** Power-on: both devices off until software turns them on, the gate open. */
  reset(): void {
    this.#ram = new Array<number>(32).fill(0);
    this.#ram[0] = COMMAND_BYTE.keyboardDisabled | COMMAND_BYTE.mouseDisabled;
    this.#outputPort = OUTPUT.reset;
    this.#data = 0;
    this.#source = "none";
    this.#answers = [];
    this.#command = 0;
    this.#lastWasCommand = false;
    this.#breaking = false;
    this.keyboard.reset();
    this.mouse.reset();
    this.#update();
  }

  /** As boot firmware leaves it: both devices tested, the keyboard translated and on, the mouse off. */
  firmware(): void {
    for (const device of [this.keyboard, this.mouse]) while (device.take() !== undefined);
    this.#ram[0] = FIRMWARE_COMMAND_BYTE;
    this.#update();
  }

  save(): KeyboardControllerState {
    return {
      ram: [...this.#ram],
      outputPort: this.#outputPort,
      data: this.#data,
      source: this.#source,
      answers: this.#answers.map(([byte, source]) => [byte, source]),
      command: this.#command,
      lastWasCommand: this.#lastWasCommand,
      breaking: this.#breaking,
      keyboard: this.keyboard.save(),
      mouse: this.mouse.save(),
    };
  }

  restore(data: KeyboardControllerState): void {
    this.#ram = [...data.ram];
    this.#outputPort = data.outputPort;
    this.#data = data.data;
    this.#source = data.source;
    this.#answers = data.answers.map(([byte, source]) => [byte, source]);
    this.#command = data.command;
    this.#lastWasCommand = data.lastWasCommand;
    this.#breaking = data.breaking;
    this.keyboard.restore(data.keyboard);
    this.mouse.restore(data.mouse);
  }

  /** A key by its name in KEYS goes down or up; false when there is no such key. */
  key(name: string, down: boolean): boolean {
    const make = KEYS[name] ?? keyOf(name)?.make;
    if (make === undefined) return false;
    this.keyboard.key(make, down);
    this.#update();
    return true;
  }

  /** Types text on the US layout, each key down and up. Gives back the characters that no key types. */
  type(text: string): string {
    const shift = KEYS["left-shift"] as readonly number[];
    let left = "";
    for (const character of text) {
      const stroke = keyOf(character);
      if (stroke === undefined) {
        left += character;
        continue;
      }
      if (stroke.shift) this.keyboard.key(shift, true);
      this.keyboard.key(stroke.make, true);
      this.keyboard.key(stroke.make, false);
      if (stroke.shift) this.keyboard.key(shift, false);
    }
    this.#update();
    return left;
  }

  /** Moves the mouse by counts to the right and upwards; buttons: bit 0 left, 1 right, 2 middle. */
  moveMouse(right: number, up: number, buttons: number): void {
    this.mouse.move(right, up, buttons);
    this.#update();
  }

  readPort(port: number): number {
    if (port !== DATA_PORT) return this.#status();
    const value = this.#data;
    this.#source = "none";
    // The line falls before the next byte raises it.
    this.#drive();
    this.#update();
    return value;
  }

  writePort(port: number, _bytes: number, value: number): void {
    this.#lastWasCommand = port !== DATA_PORT;
    if (port !== DATA_PORT) this.#execute(value);
    else if (this.#command !== 0) this.#parameter(value);
    else {
      // A byte for the keyboard turns its clock on.
      this.#ram[0] = this.#commandByte() & ~COMMAND_BYTE.keyboardDisabled;
      this.keyboard.receive(value);
    }
    this.#update();
  }

  #status(): number {
    const full = this.#source === "none" ? 0 : STATUS.outputFull;
    const mouse = this.#source === "mouse" ? STATUS.mouseFull : 0;
    const flag = this.#commandByte() & COMMAND_BYTE.systemFlag;
    return STATUS.unlocked | full | mouse | flag | (this.#lastWasCommand ? STATUS.command : 0);
  }

  #execute(command: number): void {
    this.#command = 0;
    if (command >= 0x20 && command <= 0x3f) this.#answer(this.#ram[command - 0x20] as number);
    else if (command >= 0x60 && command <= 0x7f) this.#command = command;
    else if (command >= 0xf0) this.#pulse(command);
    else this.#executeNamed(command);
  }

  #executeNamed(command: number): void {
    switch (command) {
      case 0xa4:
        this.#answer(NO_PASSWORD);
        return;
      case 0xa7:
        this.#setCommandByte(this.#commandByte() | COMMAND_BYTE.mouseDisabled);
        return;
      case 0xa8:
        this.#setCommandByte(this.#commandByte() & ~COMMAND_BYTE.mouseDisabled);
        return;
      case 0xaa:
        this.#setCommandByte(COMMAND_BYTE.systemFlag | COMMAND_BYTE.keyboardDisabled | COMMAND_BYTE.mouseDisabled);
        this.#answer(TEST_PASSED);
        return;
      case 0xa9:
      case 0xab:
        this.#answer(INTERFACE_GOOD);
        return;
      case 0xad:
        this.#setCommandByte(this.#commandByte() | COMMAND_BYTE.keyboardDisabled);
        return;
      case 0xae:
        this.#setCommandByte(this.#commandByte() & ~COMMAND_BYTE.keyboardDisabled);
        return;
      case 0xc0:
        this.#answer(INPUT_PORT);
        return;
      case 0xd0:
        this.#answer(this.#outputPins());
        return;
      case 0xd1:
      case 0xd2:
      case 0xd3:
      case 0xd4:
        this.#command = command;
        return;
      case 0xdd:
        this.#setOutputPort(this.#outputPort & ~OUTPUT.a20);
        return;
      case 0xdf:
        this.#setOutputPort(this.#outputPort | OUTPUT.a20);
        return;
      case 0xe0:
        // Test inputs: both clocks and data lines idle high.
        this.#answer(0x03);
        return;
    }
  }

  #parameter(value: number): void {
    const command = this.#command;
    this.#command = 0;
    if (command === 0x60) this.#setCommandByte(value);
    else if (command <= 0x7f) this.#ram[command - 0x60] = value;
    else if (command === 0xd1) this.#setOutputPort(value);
    else if (command === 0xd2) this.#answers.push([value, "keyboard"]);
    else if (command === 0xd3) this.#answers.push([value, "mouse"]);
    else {
      this.#ram[0] = this.#commandByte() & ~COMMAND_BYTE.mouseDisabled;
      this.mouse.receive(value);
    }
  }

  #answer(value: number): void {
    this.#answers.push([value, "controller"]);
  }

  /** Pulls the pins low whose bits are zero, for some microseconds: only the reset is seen. */
  #pulse(command: number): void {
    if ((command & OUTPUT.notReset) === 0) this.#parts.onReset();
  }

  #setOutputPort(value: number): void {
    this.#outputPort = value;
    this.#parts.onA20();
    if ((value & OUTPUT.notReset) === 0) this.#parts.onReset();
  }

  #outputPins(): number {
    const { keyboardFull, mouseFull } = OUTPUT;
    const keyboard = this.#source === "keyboard" || this.#source === "controller" ? keyboardFull : 0;
    return (this.#outputPort & ~(keyboardFull | mouseFull)) | keyboard | (this.#source === "mouse" ? mouseFull : 0);
  }

  #commandByte(): number {
    return this.#ram[0] as number;
  }

  #setCommandByte(value: number): void {
    this.#ram[0] = value;
  }

  /** Fills the output buffer when it is empty, and drives the interrupts. */
  #update(): void {
    if (this.#source === "none") this.#next();
    this.#drive();
  }

  #next(): void {
    const answer = this.#answers.shift();
    if (answer !== undefined) {
      [this.#data, this.#source] = answer;
      return;
    }
    const byte = this.#keyboardByte();
    if (byte !== undefined) {
      this.#data = byte;
      this.#source = "keyboard";
      return;
    }
    const mouse = (this.#commandByte() & COMMAND_BYTE.mouseDisabled) === 0 ? this.mouse.take() : undefined;
    if (mouse === undefined) return;
    this.#data = mouse;
    this.#source = "mouse";
  }

  /** The next byte of the keyboard as the processor is to see it. */
  #keyboardByte(): number | undefined {
    for (;;) {
      if ((this.#commandByte() & COMMAND_BYTE.keyboardDisabled) !== 0) return undefined;
      const byte = this.keyboard.take();
      if (byte === undefined || (this.#commandByte() & COMMAND_BYTE.translate) === 0) return byte;
      if (byte === BREAK) {
        this.#breaking = true;
        continue;
      }
      const code = translateScanCode(byte) | (this.#breaking ? 0x80 : 0);
      this.#breaking = false;
      return code;
    }
  }

  #drive(): void {
    const byte = this.#commandByte();
    const keyboard = this.#source === "keyboard" || this.#source === "controller";
    this.#parts.keyboardLine.set(keyboard && (byte & COMMAND_BYTE.keyboardInterrupt) !== 0);
    this.#parts.mouseLine.set(this.#source === "mouse" && (byte & COMMAND_BYTE.mouseInterrupt) !== 0);
  }
}
