/**
 * The primary ATA channel of a PC at ports 1F0h to 1F7h and 3F6h with IRQ14 (ATA/ATAPI-5; ICH7 data sheet 5.16) and up to
 * two disks, device 0 and device 1. Both take what is written to the registers; the selected one answers. Device 0
 * answers for a device 1 that is absent: its status is zero, and commands to it vanish (9.16).
 *
 * Left out: the secondary channel, bus-master DMA and the PCI function of the controller, the drive address register
 * at 3F7h, the PDIAG- handshake between two disks.
 */
import { AtaDisk, type AtaDiskState, REGISTER } from "./ata-disk.ts";
import type { DiskImage } from "./disk-image.ts";
import type { InterruptLine } from "./i8259.ts";
import { allOnes, type PortDevice } from "./ports.ts";

export const IDE_FIRST_PORT = 0x1f0;
export const IDE_LAST_PORT = 0x1f7;
export const IDE_CONTROL_PORT = 0x3f6;
const CONTROL = { noInterrupt: 0x02, softwareReset: 0x04 } as const;
const DEVICE_1 = 0x10;
const EXECUTE_DIAGNOSTIC = 0x90;

export interface IdeState {
  readonly control: number;
  readonly selected: number;
  readonly disks: readonly AtaDiskState[];
}

export class IdeChannel implements PortDevice {
  readonly width = 4;
  readonly disks: readonly AtaDisk[];
  readonly #line: InterruptLine;
  #control = 0;
  #selected = 0;

  /** A channel with one or two disks; without any, the board leaves its ports absent. */
  constructor(images: readonly DiskImage[], line: InterruptLine) {
    if (images.length > 2) throw new Error(`${images.length} disks: the primary IDE channel takes two`);
    this.disks = images.map((image) => new AtaDisk(image));
    this.#line = line;
  }

  /** RESET-: both disks as at power-on. What the guest has written to them stays. */
  reset(): void {
    this.#control = 0;
    this.#selected = 0;
    for (const disk of this.disks) disk.reset();
    this.#drive();
  }

  save(): IdeState {
    return { control: this.#control, selected: this.#selected, disks: this.disks.map((disk) => disk.save()) };
  }

  restore(data: IdeState): void {
    if (data.disks.length !== this.disks.length) {
      throw new Error(`saved machine has ${data.disks.length} disks, this one has ${this.disks.length}`);
    }
    this.#control = data.control;
    this.#selected = data.selected;
    for (const [index, disk] of this.disks.entries()) disk.restore(data.disks[index] as AtaDiskState);
  }

  readPort(port: number, bytes: number): number {
    const register = port & 7;
    if (port !== IDE_CONTROL_PORT && register === REGISTER.data) {
      const value = this.disks[this.#selected]?.readData(bytes) ?? allOnes(bytes);
      this.#drive();
      return value;
    }
    let value = 0;
    for (let i = 0; i < bytes; i++) value += this.#readRegister(port + i) * 2 ** (8 * i);
    return value;
  }

  writePort(port: number, bytes: number, value: number): void {
    if (port !== IDE_CONTROL_PORT && (port & 7) === REGISTER.data) {
      this.disks[this.#selected]?.writeData(bytes, value);
    } else {
      for (let i = 0; i < bytes; i++) this.#writeRegister(port + i, (value >>> (8 * i)) & 0xff);
    }
    this.#drive();
  }

  #readRegister(port: number): number {
    const disk = this.disks[this.#selected];
    const register = port & 7;
    // The alternate status acknowledges nothing.
    if (port === IDE_CONTROL_PORT) return disk?.status ?? 0;
    if (register !== REGISTER.command) return (disk ?? this.disks[0])?.readRegister(register) ?? 0xff;
    disk?.acknowledge();
    this.#drive();
    return disk?.status ?? 0;
  }

  #writeRegister(port: number, value: number): void {
    const register = port & 7;
    if (port === IDE_CONTROL_PORT) this.#writeControl(value);
    else if (register === REGISTER.command) this.#command(value);
    else {
      if (register === REGISTER.device) this.#selected = (value & DEVICE_1) !== 0 ? 1 : 0;
      for (const disk of this.disks) disk.writeRegister(register, value);
    }
  }

  #command(value: number): void {
    // Both carry out the diagnostic; device 0 answers afterwards.
    if (value === EXECUTE_DIAGNOSTIC) {
      for (const disk of this.disks) disk.execute(value);
      this.#selected = 0;
    } else this.disks[this.#selected]?.execute(value);
  }

  #writeControl(value: number): void {
    const before = this.#control & CONTROL.softwareReset;
    const after = value & CONTROL.softwareReset;
    this.#control = value;
    if (after !== 0 && before === 0) for (const disk of this.disks) disk.holdReset();
    if (after !== 0 || before === 0) return;
    this.#selected = 0;
    for (const disk of this.disks) disk.reset();
  }

  #drive(): void {
    const enabled = (this.#control & CONTROL.noInterrupt) === 0;
    this.#line.set(enabled && (this.disks[this.#selected]?.interrupt ?? false));
  }
}
