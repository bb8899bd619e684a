/**
 * The ATA channels of a PC at their compatible ports, IRQ14 and IRQ15 (ATA/ATAPI-6; ICH7 data sheet 5.16), each with
 * up to two disks, device 0 and device 1. Both take what is written to the registers; the selected one answers. Device
 * 0 answers for a device 1 that is absent: its status is zero, and commands to it vanish (9.16).
 *
 * Left out: the drive address register at 3F7h, the PDIAG- handshake between two disks, native PCI mode.
 */
import { AtaDisk, type AtaDiskState, REGISTER } from "./ata-disk.ts";
import type { DiskImage } from "./disk-image.ts";
import type { InterruptLine } from "./i8259.ts";
import { allOnes, type PortDevice } from "./ports.ts";

/** Ports of the command block (eight from `command`) and the control block, primary channel first. */
export const IDE_CHANNELS = [
  { command: 0x1f0, control: 0x3f6, irq: 14 },
  { command: 0x170, control: 0x376, irq: 15 },
] as const;
const CONTROL = { noInterrupt: 0x02, softwareReset: 0x04, highOrder: 0x80 } as const;
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
  readonly #onActivity: () => void;
  #control = 0;
  #selected = 0;
  #interrupting = false;
  #rose = false;

  /**
   * A channel with up to two disks; without any, the board leaves its ports absent. `onActivity` is called after each
   * access, which may have made a disk ask for DMA, raised the interrupt, or reset the disks.
   */
  constructor(images: readonly DiskImage[], line: InterruptLine, onActivity: () => void = () => undefined) {
    if (images.length > 2) throw new Error(`${images.length} disks: an IDE channel takes two`);
    this.disks = images.map((image) => new AtaDisk(image));
    this.#line = line;
    this.#onActivity = onActivity;
  }

  /** The disk that has been selected, if it is there. */
  get selected(): AtaDisk | undefined {
    return this.disks[this.#selected];
  }

  /** Whether the interrupt line has risen since this was last asked. */
  takeInterrupt(): boolean {
    const rose = this.#rose;
    this.#rose = false;
    return rose;
  }

  /** The selected disk has changed its state by itself. */
  update(): void {
    this.#drive();
  }

  /** RESET-: both disks as at power-on. What the guest has written to them stays. */
  reset(): void {
    this.#control = 0;
    this.#selected = 0;
    for (const disk of this.disks) disk.reset();
    this.#drive();
    this.#rose = false;
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
    this.#interrupting = this.#level();
    this.#rose = false;
  }

  readPort(port: number, bytes: number): number {
    const register = port & 7;
    if (!isControl(port) && register === REGISTER.data) {
      const value = this.disks[this.#selected]?.readData(bytes) ?? allOnes(bytes);
      this.#drive();
      this.#onActivity();
      return value;
    }
    let value = 0;
    for (let i = 0; i < bytes; i++) value += this.#readRegister(port + i) * 2 ** (8 * i);
    return value;
  }

  writePort(port: number, bytes: number, value: number): void {
    if (!isControl(port) && (port & 7) === REGISTER.data) {
      this.disks[this.#selected]?.writeData(bytes, value);
    } else {
      for (let i = 0; i < bytes; i++) this.#writeRegister(port + i, (value >>> (8 * i)) & 0xff);
    }
    this.#drive();
    this.#onActivity();
  }

  #readRegister(port: number): number {
    const disk = this.disks[this.#selected];
    const register = port & 7;
    // The alternate status acknowledges nothing.
    if (isControl(port)) return disk?.status ?? 0;
    const previous = (this.#control & CONTROL.highOrder) !== 0;
    if (register !== REGISTER.command) return (disk ?? this.disks[0])?.readRegister(register, previous) ?? 0xff;
    disk?.acknowledge();
    this.#drive();
    return disk?.status ?? 0;
  }

  #writeRegister(port: number, value: number): void {
    const register = port & 7;
    if (isControl(port)) {
      this.#writeControl(value);
      return;
    }
    // A write to the command block shows the newer halves again.
    this.#control &= ~CONTROL.highOrder;
    if (register === REGISTER.command) this.#command(value);
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

  #level(): boolean {
    const enabled = (this.#control & CONTROL.noInterrupt) === 0;
    return enabled && (this.disks[this.#selected]?.interrupt ?? false);
  }

  #drive(): void {
    const level = this.#level();
    this.#rose ||= level && !this.#interrupting;
    this.#interrupting = level;
    this.#line.set(level);
  }
}

/** The control block of either channel, of whose ports one is used. */
function isControl(port: number): boolean {
  return (port & 0x200) !== 0;
}
