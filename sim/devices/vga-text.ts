/**
 * A VGA in text mode (IBM PS/2 technical reference, video subsystem): the buffer at B8000h, two bytes a character, and
 * the registers at 3C0h to 3DFh: attribute controller, sequencer, graphics controller, CRT controller, palette. What
 * is on the screen can be read as rows of text, with start address, row length and screen size as programmed.
 * The retrace bits of input status 1 follow the dot clock of 28.322 MHz through frames of 449 lines (70 Hz).
 *
 * Left out: graphics modes and the planes behind A0000h (fonts that software loads vanish), the monochrome ports and
 * buffer (B0000h), split screen, panning, blanking and the timing registers, which keep their bytes; no interrupt.
 */
import { fromByteString, toByteString } from "./byte-string.ts";
import { CODE_PAGE_437 } from "./code-page-437.ts";
import { allOnes, type PortDevice } from "./ports.ts";
import { type Frequency, PulseClock, type TimeBase } from "./time.ts";

export const VGA_FIRST_PORT = 0x3c0;
export const VGA_LAST_PORT = 0x3df;
const BUFFER = 0xb8000;
const BUFFER_BYTES = 0x8000;
const CHARACTERS = BUFFER_BYTES / 2;

const DOT_CLOCK: Frequency = { numerator: 28_322_000, denominator: 1 };
/** 720 x 400 dots and their retraces, in dots and lines. */
const FRAME = { dots: 900, shownDots: 720, lines: 449, shownLines: 400, retraceLine: 412, retraceEnd: 414 } as const;

const PORT = {
  attribute: 0x3c0,
  attributeRead: 0x3c1,
  miscWrite: 0x3c2,
  sequencerIndex: 0x3c4,
  sequencer: 0x3c5,
  pelMask: 0x3c6,
  paletteReadIndex: 0x3c7,
  paletteWriteIndex: 0x3c8,
  palette: 0x3c9,
  featureRead: 0x3ca,
  miscRead: 0x3cc,
  graphicsIndex: 0x3ce,
  graphics: 0x3cf,
  crtcIndex: 0x3d4,
  crtc: 0x3d5,
  inputStatus1: 0x3da,
} as const;
const MISC = { colour: 1, ramEnable: 2 } as const;
const STATUS_1 = { notDisplaying: 1, verticalRetrace: 8 } as const;
const CRTC = {
  lastColumn: 0x01,
  overflow: 0x07,
  lastScanLine: 0x09,
  cursorStart: 0x0a,
  cursorEnd: 0x0b,
  startHigh: 0x0c,
  cursorHigh: 0x0e,
  protect: 0x11,
  lastLine: 0x12,
  offset: 0x13,
} as const;
const CURSOR_OFF = 0x20;
const ATTRIBUTE = { mode: 0x10 } as const;
const ATTRIBUTE_BLINK = 0x08;
const GRAPHICS_MISC = 6;
/** Switch sense: a colour display answers. */
const INPUT_STATUS_0 = 0x10;

/** Registers of 80 x 25 text, as the video BIOS sets them for mode 3. */
const MODE_3 = {
  misc: 0x67,
  sequencer: [0x03, 0x00, 0x03, 0x00, 0x02],
  graphics: [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff],
  attribute: [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f,
    0x08, 0x00,
  ],
  crtc: [
    0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f,
    0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
  ],
} as const;
const VIDEO_ENABLED = 0x20;

/** A character cell of the screen. */
export interface Cell {
  /** Code page 437. */
  readonly code: number;
  /** Bits 3:0 foreground, 6:4 background, 7 blink. */
  readonly attribute: number;
}

export interface VgaState {
  readonly misc: number;
  readonly indexes: readonly [attribute: number, sequencer: number, graphics: number, crtc: number];
  /** Whether port 3C0h takes data next. */
  readonly attributeData: boolean;
  readonly attribute: readonly number[];
  readonly sequencer: readonly number[];
  readonly graphics: readonly number[];
  readonly crtc: readonly number[];
  readonly pelMask: number;
  /** 256 colours of three 6-bit values. */
  readonly palette: readonly number[];
  /** Next component of the palette to be read or written, and which of both is under way. */
  readonly paletteAt: number;
  readonly paletteReading: boolean;
  /** The buffer as a byte string (byte-string.ts). */
  readonly memory: string;
}

type Registers = "attribute" | "sequencer" | "graphics" | "crtc" | "palette";
type Plain = Exclude<keyof VgaState, Registers | "indexes" | "memory">;
type Working = { -readonly [K in Plain]: VgaState[K] } & Record<Registers, number[]> & {
    indexes: [number, number, number, number];
  };

function copy(data: Working | VgaState): Working {
  return {
    misc: data.misc,
    indexes: [...data.indexes],
    attributeData: data.attributeData,
    attribute: [...data.attribute],
    sequencer: [...data.sequencer],
    graphics: [...data.graphics],
    crtc: [...data.crtc],
    pelMask: data.pelMask,
    palette: [...data.palette],
    paletteAt: data.paletteAt,
    paletteReading: data.paletteReading,
  };
}

const zeros = (count: number): number[] => new Array<number>(count).fill(0);

export class VgaText implements PortDevice {
  readonly width = 1;
  readonly #time: TimeBase;
  readonly #dots: PulseClock;
  #state: Working;
  readonly #memory = new Uint8Array(BUFFER_BYTES);
  /** The buffer as last saved, while it has not been written since. */
  #savedMemory: string | null = null;

  constructor(time: TimeBase) {
    this.#time = time;
    this.#dots = new PulseClock(DOT_CLOCK, time.ticksPerSecond);
    this.#state = powerOn();
  }

  /** Power-on: nothing is shown and no memory answers before a video BIOS has set a mode. */
  reset(): void {
    this.#state = powerOn();
    this.#memory.fill(0);
    this.#savedMemory = null;
  }

  /** What the video BIOS leaves: mode 3, a blank screen, the cursor at its top left. */
  firmware(): void {
    const s = this.#state;
    s.misc = MODE_3.misc;
    s.indexes[0] = VIDEO_ENABLED;
    s.sequencer = [...MODE_3.sequencer];
    s.graphics = [...MODE_3.graphics];
    s.attribute = [...MODE_3.attribute];
    s.crtc = [...MODE_3.crtc];
    // The 64 colours of the EGA: bits 5:3 add a third, bits 2:0 two thirds of blue, green and red.
    for (let colour = 0; colour < 64; colour++) {
      for (let part = 0; part < 3; part++) {
        const bit = 2 - part;
        s.palette[colour * 3 + part] = ((colour >> bit) & 1) * 42 + ((colour >> (bit + 3)) & 1) * 21;
      }
    }
    for (let i = 0; i < BUFFER_BYTES; i += 2) {
      this.#memory[i] = 0x20;
      this.#memory[i + 1] = 0x07;
    }
    this.#savedMemory = null;
  }

  save(): VgaState {
    this.#savedMemory ??= toByteString(this.#memory);
    return { ...copy(this.#state), memory: this.#savedMemory };
  }

  restore(data: VgaState): void {
    this.#state = copy(data);
    this.#memory.set(fromByteString(data.memory));
    this.#savedMemory = data.memory;
  }

  /** Characters in a row of the screen. */
  get columns(): number {
    return this.#crtc(CRTC.lastColumn) + 1;
  }

  /** Rows on the screen. */
  get rows(): number {
    const overflow = this.#crtc(CRTC.overflow);
    const lines = (this.#crtc(CRTC.lastLine) | ((overflow & 0x02) << 7) | ((overflow & 0x40) << 3)) + 1;
    return Math.floor(lines / ((this.#crtc(CRTC.lastScanLine) & 0x1f) + 1));
  }

  /** Scan lines of a row of characters. */
  get rowLines(): number {
    return (this.#crtc(CRTC.lastScanLine) & 0x1f) + 1;
  }

  /** First and last scan line of the cursor within its row. */
  get cursorLines(): readonly [first: number, last: number] {
    return [this.#crtc(CRTC.cursorStart) & 0x1f, this.#crtc(CRTC.cursorEnd) & 0x1f];
  }

  /** Whether bit 7 of an attribute makes a character blink; else it belongs to the background. */
  get blinks(): boolean {
    return ((this.#state.attribute[ATTRIBUTE.mode] as number) & ATTRIBUTE_BLINK) !== 0;
  }

  /** Red, green and blue, 0 to 255, of one of the 16 colours of attributes. */
  colour(index: number): readonly [red: number, green: number, blue: number] {
    const { attribute, palette, pelMask } = this.#state;
    const at = 3 * ((attribute[index] as number) & 0x3f & pelMask);
    const part = (n: number): number => Math.round(((palette[at + n] as number) * 255) / 63);
    return [part(0), part(1), part(2)];
  }

  /** Where the cursor is, null while it is hidden or off the screen. */
  get cursor(): { readonly row: number; readonly column: number } | null {
    if ((this.#crtc(CRTC.cursorStart) & CURSOR_OFF) !== 0) return null;
    const offset = (this.#word(CRTC.cursorHigh) - this.#word(CRTC.startHigh)) & (CHARACTERS - 1);
    const row = this.#rowLength() === 0 ? 0 : Math.floor(offset / this.#rowLength());
    const column = offset - row * this.#rowLength();
    return row < this.rows && column < this.columns ? { row, column } : null;
  }

  /** The screen's cells, row by row; empty when no text mode is set. */
  cells(): readonly (readonly Cell[])[] {
    if (!this.#textMode()) return [];
    const memory = this.#memory;
    const start = this.#word(CRTC.startHigh);
    return Array.from({ length: this.rows }, (_, row) =>
      Array.from({ length: this.columns }, (__, column) => {
        const at = 2 * ((start + row * this.#rowLength() + column) & (CHARACTERS - 1));
        return { code: memory[at] as number, attribute: memory[at + 1] as number };
      }),
    );
  }

  /** The screen as text, one string a row without the blanks at its end; empty when no text mode is set. */
  text(): readonly string[] {
    return this.cells().map((row) =>
      row
        .map(({ code }) => CODE_PAGE_437[code])
        .join("")
        .trimEnd(),
    );
  }

  /** Whether the display answers at a physical address. */
  claims(address: number): boolean {
    if (address < BUFFER || address >= BUFFER + BUFFER_BYTES) return false;
    const { misc, graphics } = this.#state;
    return (misc & MISC.ramEnable) !== 0 && ((graphics[GRAPHICS_MISC] as number) & 0x0c) === 0x0c;
  }

  /** Reads 1, 2 or 4 bytes of the buffer, little-endian, unsigned; beyond its end nothing answers. */
  readMemory(address: number, bytes: number): number {
    let value = 0;
    for (let i = 0; i < bytes; i++) value += (this.#memory[address - BUFFER + i] ?? 0xff) * 2 ** (8 * i);
    return value;
  }

  writeMemory(address: number, bytes: number, value: number): void {
    this.#savedMemory = null;
    for (let i = 0; i < bytes; i++) {
      const at = address - BUFFER + i;
      if (at < BUFFER_BYTES) this.#memory[at] = (value >>> (8 * i)) & 0xff;
    }
  }

  readPort(port: number): number {
    const s = this.#state;
    switch (port) {
      case PORT.attribute:
        return s.indexes[0];
      case PORT.attributeRead:
        return s.attribute[s.indexes[0] & 0x1f] ?? 0;
      case PORT.miscWrite:
        return INPUT_STATUS_0;
      case PORT.sequencerIndex:
        return s.indexes[1];
      case PORT.sequencer:
        return s.sequencer[s.indexes[1]] ?? 0;
      case PORT.pelMask:
        return s.pelMask;
      case PORT.paletteReadIndex:
        return s.paletteReading ? 3 : 0;
      case PORT.paletteWriteIndex:
        return Math.floor(s.paletteAt / 3);
      case PORT.palette:
        return this.#nextPalette((at) => s.palette[at] as number);
      case PORT.featureRead:
        return 0;
      case PORT.miscRead:
        return s.misc;
      case PORT.graphicsIndex:
        return s.indexes[2];
      case PORT.graphics:
        return s.graphics[s.indexes[2]] ?? 0;
    }
    // The colour ports answer only while the colour display is selected.
    if ((s.misc & MISC.colour) === 0) return allOnes(1);
    if (port === PORT.crtcIndex) return s.indexes[3];
    if (port === PORT.crtc) return s.crtc[s.indexes[3]] ?? 0;
    if (port !== PORT.inputStatus1) return allOnes(1);
    s.attributeData = false;
    return this.#inputStatus1();
  }

  writePort(port: number, _bytes: number, value: number): void {
    const s = this.#state;
    switch (port) {
      case PORT.attribute:
        this.#writeAttribute(value);
        return;
      case PORT.miscWrite:
        s.misc = value;
        return;
      case PORT.sequencerIndex:
        s.indexes[1] = value & 0x07;
        return;
      case PORT.sequencer:
        put(s.sequencer, s.indexes[1], value);
        return;
      case PORT.pelMask:
        s.pelMask = value;
        return;
      case PORT.paletteReadIndex:
      case PORT.paletteWriteIndex:
        s.paletteAt = value * 3;
        s.paletteReading = port === PORT.paletteReadIndex;
        return;
      case PORT.palette:
        this.#nextPalette((at) => {
          s.palette[at] = value & 0x3f;
          return 0;
        });
        return;
      case PORT.graphicsIndex:
        s.indexes[2] = value & 0x0f;
        return;
      case PORT.graphics:
        put(s.graphics, s.indexes[2], value);
        return;
    }
    if ((s.misc & MISC.colour) === 0) return;
    if (port === PORT.crtcIndex) s.indexes[3] = value & 0x1f;
    else if (port === PORT.crtc) this.#writeCrtc(value);
  }

  #writeAttribute(value: number): void {
    const s = this.#state;
    if (s.attributeData) put(s.attribute, s.indexes[0] & 0x1f, value);
    else s.indexes[0] = value & 0x3f;
    s.attributeData = !s.attributeData;
  }

  /** Bit 7 of register 11h protects registers 0 to 7, bit 4 of register 7 excepted. */
  #writeCrtc(value: number): void {
    const { crtc, indexes } = this.#state;
    const index = indexes[3];
    if (index > CRTC.overflow || (this.#crtc(CRTC.protect) & 0x80) === 0) put(crtc, index, value);
    else if (index === CRTC.overflow) crtc[index] = (this.#crtc(index) & ~0x10) | (value & 0x10);
  }

  #nextPalette(access: (at: number) => number): number {
    const s = this.#state;
    const value = access(s.paletteAt);
    s.paletteAt = (s.paletteAt + 1) % 768;
    return value;
  }

  #inputStatus1(): number {
    const dot = this.#dots.pulsesAt(this.#time.now()) % (FRAME.dots * FRAME.lines);
    const line = Math.floor(dot / FRAME.dots);
    const shown = line < FRAME.shownLines && dot % FRAME.dots < FRAME.shownDots;
    const retrace = line >= FRAME.retraceLine && line < FRAME.retraceEnd;
    return (shown ? 0 : STATUS_1.notDisplaying) | (retrace ? STATUS_1.verticalRetrace : 0);
  }

  /** Text: the graphics controller's bit 0 is clear, the buffer is at B8000h, and the picture is on. */
  #textMode(): boolean {
    const { graphics, indexes } = this.#state;
    return ((graphics[GRAPHICS_MISC] as number) & 0x0d) === 0x0c && (indexes[0] & VIDEO_ENABLED) !== 0;
  }

  /** Characters from one row's start to the next. */
  #rowLength(): number {
    return this.#crtc(CRTC.offset) * 2;
  }

  #word(high: number): number {
    return (this.#crtc(high) << 8) | this.#crtc(high + 1);
  }

  #crtc(index: number): number {
    return this.#state.crtc[index] as number;
  }
}

function powerOn(): Working {
  return {
    misc: 0,
    indexes: [0, 0, 0, 0],
    attributeData: false,
    attribute: zeros(MODE_3.attribute.length),
    sequencer: zeros(MODE_3.sequencer.length),
    graphics: zeros(MODE_3.graphics.length),
    crtc: zeros(MODE_3.crtc.length),
    pelMask: 0xff,
    palette: zeros(768),
    paletteAt: 0,
    paletteReading: false,
  };
}

/** Registers that are not there take nothing. */
function put(registers: number[], index: number, value: number): void {
  if (index < registers.length) registers[index] = value;
}
