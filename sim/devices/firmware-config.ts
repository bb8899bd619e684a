/**
 * The firmware configuration device at ports 510h and 511h (QEMU, docs/specs/fw_cfg): a 16-bit selector chooses an item, the
 * data port gives its bytes one after the other, and zeros after its end. Firmware and test suites find the amount of
 * memory, the number of processors and named files there; the file "opt/ringlab/boot" tells our BIOS what to start.
 *
 * Left out: writing to items, the DMA interface, the items of other machines.
 */
import type { PortDevice } from "./ports.ts";

export const FIRMWARE_CONFIG_FIRST_PORT = 0x510;
export const FIRMWARE_CONFIG_LAST_PORT = 0x511;
const SELECTOR_PORT = 0x510;

const ITEM = {
  signature: 0x00,
  interface: 0x01,
  ramSize: 0x03,
  processors: 0x05,
  maxProcessors: 0x0f,
  directory: 0x19,
};
const FIRST_FILE = 0x20;
const SIGNATURE = "QEMU";
/** Interface revision: bit 0, the two ports. */
const TRADITIONAL = 1;
const NAME_BYTES = 56;
const ENTRY_BYTES = 8 + NAME_BYTES;

/** A named item. */
export interface FirmwareFile {
  /** ASCII, at most 55 characters. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface FirmwareConfigContents {
  /** RAM in bytes. */
  readonly memoryBytes: number;
  readonly files: readonly FirmwareFile[];
}

export interface FirmwareConfigState {
  readonly item: number;
  readonly position: number;
}

export class FirmwareConfig implements PortDevice {
  readonly width = 1;
  readonly #items: ReadonlyMap<number, Uint8Array>;
  #item = 0;
  #position = 0;

  constructor({ memoryBytes, files }: FirmwareConfigContents) {
    this.#items = new Map([
      [ITEM.signature, ascii(SIGNATURE)],
      [ITEM.interface, littleEndian(TRADITIONAL, 4)],
      [ITEM.ramSize, littleEndian(memoryBytes, 8)],
      [ITEM.processors, littleEndian(1, 2)],
      [ITEM.maxProcessors, littleEndian(1, 2)],
      [ITEM.directory, directory(files)],
      ...files.map(({ bytes }, index) => [FIRST_FILE + index, bytes] as const),
    ]);
  }

  reset(): void {
    this.#item = 0;
    this.#position = 0;
  }

  save(): FirmwareConfigState {
    return { item: this.#item, position: this.#position };
  }

  restore(data: FirmwareConfigState): void {
    this.#item = data.item;
    this.#position = data.position;
  }

  readPort(port: number): number {
    if (port === SELECTOR_PORT) return 0;
    const bytes = this.#items.get(this.#item);
    return bytes?.[this.#position++] ?? 0;
  }

  /** A 16-bit write to the selector comes as two bytes, low first; its high byte is at the data port, which takes none. */
  writePort(port: number, _bytes: number, value: number): void {
    this.#item = port === SELECTOR_PORT ? value : (this.#item & 0xff) | (value << 8);
    this.#position = 0;
  }
}

/** The list of files: big-endian, as it was first on a PowerPC. */
function directory(files: readonly FirmwareFile[]): Uint8Array {
  const bytes = new Uint8Array(4 + files.length * ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, files.length);
  for (const [index, file] of files.entries()) {
    const at = 4 + index * ENTRY_BYTES;
    if (file.name.length >= NAME_BYTES) throw new Error(`firmware file ${file.name}: the name is too long`);
    view.setUint32(at, file.bytes.length);
    view.setUint16(at + 4, FIRST_FILE + index);
    bytes.set(ascii(file.name), at + 8);
  }
  return bytes;
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function littleEndian(value: number, bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, index) => Math.floor(value / 2 ** (8 * index)) & 0xff);
}
