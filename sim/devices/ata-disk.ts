/**
 * An ATA disk (ATA/ATAPI-6, T13 1410D: clauses 7 to 9): task file, addresses of 28 and 48 bits or cylinder, head and
 * sector, PIO and DMA transfers, and what drivers send before and after them. In a DMA transfer the disk only asks:
 * who moves the bytes, and when, is the bus master's business (ide-bus-master.ts).
 *
 * Left out: the time of PIO commands: each is carried out when it is written, so BSY is seen only during a reset;
 * packet, security, SMART, host protected area and power management beyond what answers that the disk is spinning; the
 * write cache (a sector is written when its last word has come); queued DMA. A DMA command that reaches beyond the
 * end of the disk transfers nothing. The fastest Ultra DMA mode is selected from the beginning, as firmware would.
 */
import { identifyDevice, MAX_MULTIPLE } from "./ata-identify.ts";
import { fromByteString, toByteString } from "./byte-string.ts";
import { type DiskImage, type DiskImageState, type Geometry, SECTOR_BYTES } from "./disk-image.ts";

export const STATUS = { error: 0x01, dataRequest: 0x08, seekComplete: 0x10, ready: 0x40, busy: 0x80 } as const;
export const ERROR = { aborted: 0x04, idNotFound: 0x10 } as const;
const READY = STATUS.ready | STATUS.seekComplete;
const DEVICE = { head: 0x0f, lba: 0x40 } as const;
const DIAGNOSTIC_PASSED = 0x01;

const COMMAND = {
  read: 0x20,
  readNoRetry: 0x21,
  readExt: 0x24,
  readDmaExt: 0x25,
  readNativeMaxExt: 0x27,
  readMultipleExt: 0x29,
  write: 0x30,
  writeNoRetry: 0x31,
  writeExt: 0x34,
  writeDmaExt: 0x35,
  writeMultipleExt: 0x39,
  verify: 0x40,
  verifyNoRetry: 0x41,
  verifyExt: 0x42,
  seek: 0x70,
  diagnostic: 0x90,
  initializeParameters: 0x91,
  readMultiple: 0xc4,
  writeMultiple: 0xc5,
  setMultiple: 0xc6,
  readDma: 0xc8,
  readDmaNoRetry: 0xc9,
  writeDma: 0xca,
  writeDmaNoRetry: 0xcb,
  standbyImmediate: 0xe0,
  idleImmediate: 0xe1,
  standby: 0xe2,
  idle: 0xe3,
  checkPower: 0xe5,
  sleep: 0xe6,
  flush: 0xe7,
  flushExt: 0xea,
  identify: 0xec,
  setFeatures: 0xef,
  readNativeMax: 0xf8,
} as const;
/** Commands that take 48-bit addresses and 16-bit counts from the registers and what they held before. */
const EXTENDED: readonly number[] = [0x24, 0x25, 0x29, 0x34, 0x35, 0x39, 0x42];
/** SET FEATURES' codes of the fastest modes. */
const TRANSFER_MODE = { pioLast: 0x0c, multiword: 0x20, multiwordLast: 0x22, ultra: 0x40, ultraLast: 0x45 } as const;
/** RECALIBRATE has sixteen codes. */
const RECALIBRATE = 0x10;
const SPINNING = 0xff;
const FEATURE = {
  writeCacheOn: 0x02,
  transferMode: 0x03,
  lookAheadOff: 0x55,
  keepDefaults: 0x66,
  writeCacheOff: 0x82,
  lookAheadOn: 0xaa,
  revertDefaults: 0xcc,
} as const;

/** Registers of the command block, by the low three bits of their port. Features and command are write-only. */
export const REGISTER = { data: 0, features: 1, count: 2, low: 3, middle: 4, high: 5, device: 6, command: 7 } as const;

type Direction = "none" | "read" | "write";

/** What a disk asks of the bus master: from the disk to memory, or the other way. */
export interface DmaRequest {
  readonly direction: "read" | "write";
  readonly sectors: number;
}

export interface AtaDiskState {
  readonly error: number;
  readonly features: number;
  readonly count: number;
  readonly low: number;
  readonly middle: number;
  readonly high: number;
  readonly device: number;
  /** What count, low, middle and high held before their last write: the upper halves of 48-bit commands. */
  readonly previous: readonly [count: number, low: number, middle: number, high: number];
  /** The command under way has a 48-bit address. */
  readonly extended: boolean;
  readonly transferMode: number;
  /** A DMA transfer of `left` sectors from `sector` waits for the bus master. */
  readonly dma: Direction;
  readonly status: number;
  readonly interrupt: boolean;
  /** Sectors in a block of READ and WRITE MULTIPLE, 0 when off. */
  readonly multiple: number;
  readonly heads: number;
  readonly sectorsPerTrack: number;
  readonly writeCache: boolean;
  readonly lookAhead: boolean;
  readonly direction: Direction;
  /** Sectors that the command has left after those in the buffer, and how many make a block. */
  readonly left: number;
  readonly block: number;
  /** The block under way as a byte string, and how far it has been transferred. */
  readonly buffer: string;
  readonly position: number;
  /** First sector of the buffer; -1 when it holds no sectors of the disk. */
  readonly sector: number;
  readonly image: DiskImageState;
}

type Working = { -readonly [K in Exclude<keyof AtaDiskState, "buffer" | "image">]: AtaDiskState[K] };

export class AtaDisk {
  readonly image: DiskImage;
  readonly #geometry: Geometry;
  #state: Working;
  #buffer: Uint8Array = new Uint8Array(0);

  constructor(image: DiskImage) {
    this.image = image;
    this.#geometry = image.geometry;
    this.#state = this.#afterReset();
  }

  /** INTRQ, before the channel's nIEN. */
  get interrupt(): boolean {
    return this.#state.interrupt;
  }

  get status(): number {
    return this.#state.status;
  }

  /** Power-on and hardware reset, and the end of a software reset: the signature of a disk. */
  reset(): void {
    this.#state = this.#afterReset();
    this.#buffer = new Uint8Array(0);
  }

  /** SRST is held: the disk is busy. */
  holdReset(): void {
    this.reset();
    this.#state.status = STATUS.busy;
  }

  save(): AtaDiskState {
    return { ...this.#state, buffer: toByteString(this.#buffer), image: this.image.save() };
  }

  restore(data: AtaDiskState): void {
    const { buffer, image, ...plain } = data;
    this.#state = { ...plain };
    this.#buffer = fromByteString(buffer);
    this.image.restore(image);
  }

  /** The status register was read: INTRQ falls. */
  acknowledge(): void {
    this.#state.interrupt = false;
  }

  /**
   * Registers 1 to 6; the data register and the status have their own functions. `previous`: what count and address
   * held before, as device control's bit HOB asks.
   */
  readRegister(register: number, previous = false): number {
    const s = this.#state;
    if (previous && register >= REGISTER.count && register <= REGISTER.high) {
      return s.previous[(register - REGISTER.count) as 0 | 1 | 2 | 3];
    }
    return [0, s.error, s.count, s.low, s.middle, s.high, s.device | 0xa0][register] ?? 0;
  }

  /** Registers 1 to 6; ignored while a command transfers data. */
  writeRegister(register: number, value: number): void {
    const s = this.#state;
    if ((s.status & (STATUS.busy | STATUS.dataRequest)) !== 0 && register !== REGISTER.device) return;
    if (register >= REGISTER.count && register <= REGISTER.high) {
      const { count, low, middle, high } = s;
      const previous: [number, number, number, number] = [...s.previous];
      previous[register - REGISTER.count] = [count, low, middle, high][register - REGISTER.count] as number;
      s.previous = previous;
    }
    if (register === REGISTER.features) s.features = value;
    else if (register === REGISTER.count) s.count = value;
    else if (register === REGISTER.low) s.low = value;
    else if (register === REGISTER.middle) s.middle = value;
    else if (register === REGISTER.high) s.high = value;
    else if (register === REGISTER.device) s.device = value;
  }

  /** Reads `bytes` bytes of the data register; all ones when no data is requested. */
  readData(bytes: number): number {
    const s = this.#state;
    let value = 0;
    for (let i = 0; i < bytes; i++) {
      const byte = s.direction === "read" ? (this.#buffer[s.position + i] ?? 0xff) : 0xff;
      value += byte * 2 ** (8 * i);
    }
    if (s.direction !== "read") return value;
    s.position += bytes;
    if (s.position >= this.#buffer.length) this.#readBlock(false);
    return value;
  }

  writeData(bytes: number, value: number): void {
    const s = this.#state;
    if (s.direction !== "write") return;
    for (let i = 0; i < bytes; i++) this.#buffer[s.position + i] = (value >>> (8 * i)) & 0xff;
    s.position += bytes;
    if (s.position >= this.#buffer.length) this.#written();
  }

  /** The command register. */
  execute(command: number): void {
    const s = this.#state;
    if ((s.status & STATUS.busy) !== 0) return;
    s.interrupt = false;
    s.error = 0;
    s.status = READY;
    this.#end();
    s.extended = EXTENDED.includes(command);
    if ((command & 0xf0) === RECALIBRATE) {
      this.#complete();
      return;
    }
    switch (command) {
      case COMMAND.read:
      case COMMAND.readNoRetry:
      case COMMAND.readExt:
        this.#transfer("read", 1);
        return;
      case COMMAND.write:
      case COMMAND.writeNoRetry:
      case COMMAND.writeExt:
        this.#transfer("write", 1);
        return;
      case COMMAND.readDma:
      case COMMAND.readDmaNoRetry:
      case COMMAND.readDmaExt:
        this.#requestDma("read");
        return;
      case COMMAND.writeDma:
      case COMMAND.writeDmaNoRetry:
      case COMMAND.writeDmaExt:
        this.#requestDma("write");
        return;
      case COMMAND.readMultiple:
      case COMMAND.readMultipleExt:
        this.#transfer("read", s.multiple);
        return;
      case COMMAND.writeMultiple:
      case COMMAND.writeMultipleExt:
        this.#transfer("write", s.multiple);
        return;
      case COMMAND.verify:
      case COMMAND.verifyNoRetry:
      case COMMAND.verifyExt:
        this.#verify(this.#count());
        return;
      case COMMAND.seek:
        this.#verify(1);
        return;
      case COMMAND.diagnostic:
        this.reset();
        this.#complete();
        return;
      case COMMAND.initializeParameters:
        s.heads = (s.device & DEVICE.head) + 1;
        s.sectorsPerTrack = s.count;
        if (s.count === 0) this.#fail(ERROR.aborted);
        else this.#complete();
        return;
      case COMMAND.setMultiple:
        this.#setMultiple(s.count);
        return;
      case COMMAND.checkPower:
        s.count = SPINNING;
        this.#complete();
        return;
      case COMMAND.standbyImmediate:
      case COMMAND.idleImmediate:
      case COMMAND.standby:
      case COMMAND.idle:
      case COMMAND.sleep:
      case COMMAND.flush:
      case COMMAND.flushExt:
        this.#complete();
        return;
      case COMMAND.identify:
        this.#buffer = identifyDevice({ ...s, sectors: this.image.sectors, geometry: this.#geometry });
        s.direction = "read";
        s.status = READY | STATUS.dataRequest;
        s.interrupt = true;
        return;
      case COMMAND.setFeatures:
        this.#setFeatures();
        return;
      case COMMAND.readNativeMax:
      case COMMAND.readNativeMaxExt:
        s.extended = command === COMMAND.readNativeMaxExt;
        s.device |= DEVICE.lba;
        this.#showAddress(this.image.sectors - 1);
        this.#complete();
        return;
      default:
        this.#fail(ERROR.aborted);
        return;
    }
  }

  #afterReset(): Working {
    return {
      error: DIAGNOSTIC_PASSED,
      features: 0,
      count: 1,
      low: 1,
      middle: 0,
      high: 0,
      device: 0,
      previous: [0, 0, 0, 0],
      extended: false,
      transferMode: TRANSFER_MODE.ultraLast,
      dma: "none",
      status: READY,
      interrupt: false,
      multiple: 0,
      heads: this.#geometry.heads,
      sectorsPerTrack: this.#geometry.sectors,
      writeCache: true,
      lookAhead: true,
      direction: "none",
      left: 0,
      block: 1,
      position: 0,
      sector: -1,
    };
  }

  #complete(): void {
    this.#state.interrupt = true;
  }

  #fail(error: number): void {
    const s = this.#state;
    this.#end();
    s.error = error;
    s.status = READY | STATUS.error;
    s.interrupt = true;
  }

  /** No data is under way. */
  #end(): void {
    const s = this.#state;
    s.direction = "none";
    s.dma = "none";
    s.left = 0;
    s.position = 0;
    s.sector = -1;
    this.#buffer = new Uint8Array(0);
  }

  /** What the disk asks of the bus master, until `finishDma`. */
  get dmaRequest(): DmaRequest | null {
    const { dma, left } = this.#state;
    return dma === "none" ? null : { direction: dma, sectors: left };
  }

  /** The bytes that a DMA read gives. */
  readDma(): Uint8Array {
    const s = this.#state;
    const bytes = new Uint8Array(s.left * SECTOR_BYTES);
    for (let i = 0; i < s.left; i++) this.image.read(s.sector + i, bytes, i * SECTOR_BYTES);
    return bytes;
  }

  /** The bytes that a DMA write takes. */
  writeDma(bytes: Uint8Array): void {
    const { sector, left } = this.#state;
    for (let i = 0; i < left; i++) this.image.write(sector + i, bytes, i * SECTOR_BYTES);
  }

  /** The bus master has moved everything: the command ends with an interrupt. */
  finishDma(): void {
    const s = this.#state;
    const last = s.sector + s.left - 1;
    this.#end();
    s.count = 0;
    this.#showAddress(last);
    s.status = READY;
    this.#complete();
  }

  #requestDma(direction: "read" | "write"): void {
    const s = this.#state;
    const count = this.#count();
    const sector = this.#address();
    if (sector < 0 || sector + count > this.image.sectors) {
      this.#fail(ERROR.idNotFound);
      return;
    }
    s.left = count;
    s.sector = sector;
    s.dma = direction;
    s.status = READY | STATUS.dataRequest;
  }

  /** Sectors that a command is for. */
  #count(): number {
    const s = this.#state;
    if (s.extended) return ((s.previous[0] << 8) | s.count) === 0 ? 65_536 : (s.previous[0] << 8) | s.count;
    return s.count === 0 ? 256 : s.count;
  }

  #transfer(direction: "read" | "write", block: number): void {
    const s = this.#state;
    // MULTIPLE without SET MULTIPLE MODE.
    if (block === 0) {
      this.#fail(ERROR.aborted);
      return;
    }
    s.left = this.#count();
    s.block = block;
    s.direction = direction;
    s.sector = this.#address();
    if (direction === "read") this.#readBlock(true);
    else this.#askBlock(true);
  }

  /** Fills the buffer with the next block; `first` when the registers hold its address. */
  #readBlock(first: boolean): void {
    const s = this.#state;
    if (!this.#nextBlock(first)) return;
    for (let i = 0; i < this.#buffer.length; i += SECTOR_BYTES) {
      this.image.read(s.sector + i / SECTOR_BYTES, this.#buffer, i);
    }
    s.status = READY | STATUS.dataRequest;
    s.interrupt = true;
  }

  /** Asks for the data of the next block. Only those after the first interrupt. */
  #askBlock(first: boolean): void {
    const s = this.#state;
    if (!this.#nextBlock(first)) {
      // The last block's end interrupts.
      s.interrupt = true;
      return;
    }
    s.status = READY | STATUS.dataRequest;
    s.interrupt = !first;
  }

  #written(): void {
    const s = this.#state;
    for (let i = 0; i < this.#buffer.length; i += SECTOR_BYTES) {
      this.image.write(s.sector + i / SECTOR_BYTES, this.#buffer, i);
    }
    this.#askBlock(false);
  }

  /**
   * Makes room for the next block and lets the registers show its last sector and how many are left. False when the
   * command has ended, or failed at a sector that the disk has not got: what comes before it is transferred.
   */
  #nextBlock(first: boolean): boolean {
    const s = this.#state;
    if (!first) s.sector = s.sector < 0 ? -1 : s.sector + this.#buffer.length / SECTOR_BYTES;
    if (s.left === 0) {
      this.#end();
      s.status = READY;
      return false;
    }
    const present = s.sector < 0 ? 0 : Math.min(s.left, s.block, this.image.sectors - s.sector);
    if (present <= 0) {
      if (s.sector >= 0) this.#showAddress(s.sector);
      this.#fail(ERROR.idNotFound);
      return false;
    }
    s.left -= present;
    s.position = 0;
    s.count = s.left & 0xff;
    this.#showAddress(s.sector + present - 1);
    this.#buffer = new Uint8Array(present * SECTOR_BYTES);
    return true;
  }

  #verify(count: number): void {
    const sector = this.#address();
    if (sector < 0 || sector + count > this.image.sectors) this.#fail(ERROR.idNotFound);
    else this.#complete();
  }

  /** The sector that the registers name; -1 for none. */
  #address(): number {
    const s = this.#state;
    if (s.extended) {
      const [, low, middle, high] = s.previous;
      const upper = (((high << 16) | (middle << 8) | low) & 0xff_ffff) >>> 0;
      return upper * 2 ** 24 + ((s.high << 16) | (s.middle << 8) | s.low);
    }
    if ((s.device & DEVICE.lba) !== 0) {
      return ((s.device & DEVICE.head) << 24) | (s.high << 16) | (s.middle << 8) | s.low;
    }
    const head = s.device & DEVICE.head;
    if (s.low === 0 || s.low > s.sectorsPerTrack || head >= s.heads) return -1;
    return (((s.high << 8) | s.middle) * s.heads + head) * s.sectorsPerTrack + s.low - 1;
  }

  #showAddress(sector: number): void {
    const s = this.#state;
    if (s.extended) {
      const byte = (n: number): number => Math.floor(sector / 2 ** (8 * n)) & 0xff;
      [s.low, s.middle, s.high] = [byte(0), byte(1), byte(2)];
      s.previous = [s.left >> 8, byte(3), byte(4), byte(5)];
      return;
    }
    let [low, cylinder, head] = [sector & 0xff, (sector >> 8) & 0xffff, sector >> 24];
    if ((s.device & DEVICE.lba) === 0) {
      low = (sector % s.sectorsPerTrack) + 1;
      const track = Math.floor(sector / s.sectorsPerTrack);
      head = track % s.heads;
      cylinder = Math.floor(track / s.heads);
    }
    s.low = low;
    s.middle = cylinder & 0xff;
    s.high = (cylinder >> 8) & 0xff;
    s.device = (s.device & ~DEVICE.head) | head;
  }

  #setMultiple(count: number): void {
    const valid = count <= MAX_MULTIPLE && (count & (count - 1)) === 0;
    this.#state.multiple = valid ? count : 0;
    if (valid) this.#complete();
    else this.#fail(ERROR.aborted);
  }

  #setFeatures(): void {
    const s = this.#state;
    const { features } = s;
    // PIO default modes 0 and 1, and flow control modes 0 to 4.
    const { pioLast, multiword, multiwordLast, ultra, ultraLast } = TRANSFER_MODE;
    const pio = s.count <= 1 || (s.count >= 8 && s.count <= pioLast);
    const dma = (s.count >= multiword && s.count <= multiwordLast) || (s.count >= ultra && s.count <= ultraLast);
    const known = (Object.values(FEATURE) as number[]).includes(features);
    if (!known || (features === FEATURE.transferMode && !pio && !dma)) {
      this.#fail(ERROR.aborted);
      return;
    }
    if (features === FEATURE.transferMode && dma) s.transferMode = s.count;
    if (features === FEATURE.writeCacheOn) s.writeCache = true;
    if (features === FEATURE.writeCacheOff) s.writeCache = false;
    if (features === FEATURE.lookAheadOn) s.lookAhead = true;
    if (features === FEATURE.lookAheadOff) s.lookAhead = false;
    this.#complete();
  }
}
