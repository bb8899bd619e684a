/**
 * The PC's board: ports, memory-mapped devices and interrupt wiring behind the core's `Bus`. The same class is a
 * machine's physical board and a virtual machine's virtual one; who pays what is given to it (`charge`, `ticks`).
 *
 * An access takes its time first and happens at its end: what falls due until then has happened when the device
 * is looked at. Absent ports and unclaimed addresses read all ones, and writes to them vanish.
 *
 * Every IRQ goes to the 8259s and to an input of the I/O APIC, which sends messages to the local APIC (io-apic.ts).
 *
 *     8254 OUT0 -- IRQ0 |                                      | INTR when the APIC is disabled (IA32_APIC_BASE[11])
 *     COM2 -------- IRQ3 | 8259 pair -- INT -- LINT0 local APIC |
 *     COM1 -------- IRQ4 |                    (ExtINT: virtual wire)
 *     RTC --------- IRQ8 |
 *     ACPI -- SCI - IRQ9 |
 *     FERR# latch - IRQ13 | (port F0h: clears it and asserts IGNNE#)
 *     ATA disks - IRQ14, 15 | (two channels; their bus master is placed in the port space by PCI function 31.1)
 *     8042 ---- IRQ1, 12 | 8042, ports 92h, CF9h -- A20, reset (callbacks: both are the processor's)
 *
 * A vector of the local APIC is taken before an external one of the 8259s; the manual leaves the order open.
 */
import { Alarms, nanosecondsToTicks, TICKS_PER_CYCLE, type Timed } from "../clock.ts";
import type { Bus, BusCharge } from "../cpu/bus.ts";
import { ACPI_PORTS, AcpiPm, type AcpiPmState, SCI_IRQ } from "./acpi-pm.ts";
import type { BoardFile, BusCost, BusTicks } from "./board.ts";
import {
  CONSOLE_PORT,
  DEBUG_EXIT_DEFAULT_PORT,
  DEBUG_EXIT_PORT,
  DebugConsole,
  DebugExit,
  DIGEST_PORT,
  DigestPort,
} from "./debug.ts";
import { DiskImage } from "./disk-image.ts";
import type { DmaPort } from "./dma.ts";
import {
  FIRMWARE_CONFIG_FIRST_PORT,
  FIRMWARE_CONFIG_LAST_PORT,
  FirmwareConfig,
  type FirmwareConfigState,
  type FirmwareFile,
} from "./firmware-config.ts";
import { DmaPages, I8237, type I8237State, PAGE_FIRST_PORT, PAGE_LAST_PORT } from "./i8237.ts";
import { I8254, type I8254State } from "./i8254.ts";
import { I8259Pair, type I8259PairState, type InterruptLine } from "./i8259.ts";
import { IDE_CHANNELS, IdeChannel, type IdeState } from "./ide.ts";
import { BUS_MASTER_PORTS, type BusMasterState, IdeBusMaster } from "./ide-bus-master.ts";
import { IO_APIC_BASE, IO_APIC_BYTES, IoApic, type IoApicState, inputOfIrq } from "./io-apic.ts";
import { KeyboardController, type KeyboardControllerState } from "./keyboard-controller.ts";
import { APIC, LocalApic, type LocalApicState } from "./lapic.ts";
import { NUMERIC_ERROR_IRQ, NUMERIC_ERROR_PORT, NumericError, type NumericErrorState } from "./numeric-error.ts";
import {
  ACPI_CONTROL_ENABLE,
  PCI_COMMAND,
  PCI_FIRST_PORT,
  PCI_FUNCTIONS,
  PCI_IDE,
  PCI_ISA_BRIDGE,
  PCI_LAST_PORT,
  PciConfiguration,
  type PciState,
} from "./pci.ts";
import { PORT_92, Port92 } from "./port92.ts";
import { allOnes, type PortBus, type PortDevice, PortMap, type PortRange } from "./ports.ts";
import { PostRegister } from "./post.ts";
import { type CalendarDate, DEFAULT_START_DATE, Rtc, type RtcState } from "./rtc.ts";
import type { TimeBase } from "./time.ts";
import { Uart16550, type UartState } from "./uart16550.ts";
import { VGA_FIRST_PORT, VGA_LAST_PORT, type VgaState, VgaText } from "./vga-text.ts";

/** IA32_APIC_BASE after reset: the page at FEE00000h, enabled, bootstrap processor. */
export const APIC_BASE_RESET = 0xfee0_0900;
const APIC_BASE_ENABLE = 0x800;
const APIC_PAGE_BYTES = 0x1000;

const READ_COST: Readonly<Record<PortBus, BusCost>> = {
  slow: "slowPortRead",
  chipset: "chipsetPortRead",
  northBridge: "northBridgePortRead",
};
const WRITE_COST: Readonly<Record<PortBus, BusCost>> = {
  slow: "slowPortWrite",
  chipset: "chipsetPortWrite",
  northBridge: "northBridgePortWrite",
};

export interface PcBoardParts {
  readonly board: BoardFile;
  readonly time: TimeBase;
  /** What accesses take: `busTicks` on a machine, `freeTicks` in a virtual one. */
  readonly ticks: BusTicks;
  readonly charge: BusCharge;
  /** The processor's IA32_APIC_BASE. */
  readonly apicBase: () => number;
  /** Shifts the timer's crystal against the clock, in ticks. */
  readonly timerPhase?: number;
  /** RAM of the guest, which the CMOS RAM tells firmware; 1 MB if not given. */
  readonly memoryBytes?: number;
  /** Contents of the disks, in the order primary master and slave, secondary master and slave; never modified. */
  readonly disks?: readonly Uint8Array[];
  /** Files of the firmware configuration device. */
  readonly firmwareFiles?: readonly FirmwareFile[];
  /** How devices reach memory; without it there is none to reach. */
  readonly dma?: DmaPort;
  /** What the calendar shows at power-on. */
  readonly startDate?: CalendarDate;
  /** An access may have moved a deadline or an interrupt line: the core looks at both at the next boundary. */
  readonly onChange?: () => void;
  /** The guest has written to the debug-exit port. */
  readonly onExit?: () => void;
  /** The guest has switched the machine off. */
  readonly onPowerOff?: () => void;
  /** Gate A20 has opened or closed; at power-on it is open. Address line 20 is the processor's. */
  readonly onA20?: (open: boolean) => void;
  /** Software has asked for a reset of the processor. */
  readonly onReset?: () => void;
  /** A byte has left COM1 (1) or COM2 (2). */
  readonly onSerial?: (port: 1 | 2, byte: number) => void;
}

export interface PcBoardState {
  readonly pic: I8259PairState;
  readonly timer: I8254State;
  readonly rtc: RtcState;
  readonly keyboardController: KeyboardControllerState;
  readonly port92: number;
  readonly numericError: NumericErrorState;
  readonly vga: VgaState;
  readonly pci: PciState;
  readonly ide: readonly IdeState[];
  readonly busMaster: BusMasterState;
  readonly apic: LocalApicState;
  readonly ioApic: IoApicState;
  readonly power: AcpiPmState;
  readonly isaDma: readonly I8237State[];
  readonly dmaPages: readonly number[];
  readonly com1: UartState;
  readonly com2: UartState;
  readonly post: number;
  readonly firmwareConfig: FirmwareConfigState;
  readonly exitStatus: number | null;
  readonly digest: readonly number[];
  readonly console: readonly number[];
  readonly nmi: boolean;
  readonly apicWasEnabled: boolean;
}

export class PcBoard implements Bus, Timed {
  readonly pic: I8259Pair;
  readonly timer: I8254;
  readonly rtc: Rtc;
  readonly keyboardController: KeyboardController;
  readonly port92: Port92;
  readonly numericErrors: NumericError;
  readonly vga: VgaText;
  readonly pci: PciConfiguration;
  /** Primary and secondary channel. */
  readonly ide: readonly IdeChannel[];
  readonly busMaster: IdeBusMaster;
  readonly apic: LocalApic;
  readonly ioApic: IoApic;
  readonly power: AcpiPm;
  readonly isaDma: readonly I8237[] = [new I8237(0, 1), new I8237(0xc0, 2)];
  readonly dmaPages = new DmaPages();
  readonly com1: Uart16550;
  readonly com2: Uart16550;
  readonly post = new PostRegister();
  readonly firmwareConfig: FirmwareConfig;
  readonly exit: DebugExit;
  readonly digest = new DigestPort();
  readonly console = new DebugConsole();
  readonly #parts: PcBoardParts;
  /** Accesses to ports that no device has, by port: what a guest looked for in vain. Not part of the state. */
  readonly absentPorts = new Map<number, number>();
  readonly #ports = new PortMap();
  readonly #alarms = new Alarms();
  #a20 = true;
  #nmi = false;
  #apicWasEnabled = true;

  constructor(parts: PcBoardParts) {
    const { board, time } = parts;
    this.#parts = parts;
    this.apic = new LocalApic({
      id: 0,
      time,
      busClock: board.busClock,
      onNmi: () => {
        this.#nmi = true;
      },
      onEndOfInterrupt: (vector) => this.ioApic.endOfInterrupt(vector),
    });
    this.ioApic = new IoApic((message) => this.apic.receive(message));
    this.pic = new I8259Pair((level) => {
      this.apic.setLint(0, level);
      this.ioApic.setInput(0, level);
    });
    const { pic, ioApic } = this;
    const irq0 = {
      set: this.#irq(0).set,
      // An edge that waits in the 8259 holds up the next one, unless the I/O APIC takes each as it comes.
      get requested(): boolean {
        return pic.isRequested(0) && ioApic.isMasked(inputOfIrq(0));
      },
      get masked(): boolean {
        return pic.isMasked(0) && ioApic.isMasked(inputOfIrq(0));
      },
    };
    this.power = new AcpiPm({ time, sci: this.#irq(SCI_IRQ), onPowerOff: () => parts.onPowerOff?.() });
    this.timer = new I8254(time, irq0, parts.timerPhase);
    const images = (parts.disks ?? []).map((base) => new DiskImage(base));
    if (images.length > 4) throw new Error(`${images.length} disks: the IDE channels take four`);
    this.ide = IDE_CHANNELS.map(({ irq }, n) => {
      const here = images.slice(2 * n, 2 * n + 2);
      return new IdeChannel(here, this.#irq(irq), () => this.busMaster.activity(n));
    });
    const megahertz = time.ticksPerSecond / TICKS_PER_CYCLE / 1e6;
    this.busMaster = new IdeBusMaster({
      channels: this.ide,
      dma: parts.dma ?? NO_MEMORY,
      times: {
        access: nanosecondsToTicks(board.disk.diskAccess.value, megahertz),
        sector: nanosecondsToTicks(board.disk.diskSector.value, megahertz),
      },
      now: () => time.now(),
      mayMaster: () => (this.pci.read16(PCI_IDE.selector, PCI_IDE.command) & PCI_COMMAND.master) !== 0,
    });
    this.rtc = new Rtc(time, this.#irq(8), parts.startDate ?? DEFAULT_START_DATE, {
      memoryBytes: parts.memoryBytes ?? 0x10_0000,
      disk: images[0]?.geometry ?? null,
    });
    const onA20 = (): void => this.#gateA20();
    const onReset = (): void => parts.onReset?.();
    this.keyboardController = new KeyboardController({
      keyboardLine: this.#irq(1),
      mouseLine: this.#irq(12),
      onA20,
      onReset,
    });
    this.port92 = new Port92(onA20, onReset);
    this.numericErrors = new NumericError(this.#irq(NUMERIC_ERROR_IRQ));
    this.vga = new VgaText(time);
    this.pci = new PciConfiguration(PCI_FUNCTIONS, onReset, () => this.#configured());
    this.com1 = this.#serial(1, 4);
    this.com2 = this.#serial(2, 3);
    this.firmwareConfig = new FirmwareConfig({
      memoryBytes: parts.memoryBytes ?? 0x10_0000,
      files: parts.firmwareFiles ?? [],
    });
    this.exit = new DebugExit(() => parts.onExit?.());
    const { apic, com1, com2, rtc, busMaster, power } = this;
    for (const source of [this.timer, apic, com1, com2, rtc, busMaster, power]) this.#alarms.add(source);
    this.#claimPorts();
    this.reset();
  }

  /** Power-on and RESET: every device as its data sheet says. The laboratory's own ports keep what they were told. */
  reset(): void {
    this.ioApic.reset();
    this.pic.reset();
    this.apic.reset();
    this.power.reset();
    for (const controller of this.isaDma) controller.reset();
    this.dmaPages.reset();
    this.timer.reset();
    this.rtc.reset();
    this.keyboardController.reset();
    this.port92.reset();
    this.numericErrors.reset();
    this.vga.reset();
    this.pci.reset();
    for (const channel of this.ide) channel.reset();
    this.busMaster.reset();
    this.#placePorts();
    this.#gateA20();
    this.com1.reset();
    this.com2.reset();
    this.post.reset();
    this.firmwareConfig.reset();
    this.#nmi = false;
    this.#apicWasEnabled = true;
  }

  /**
   * What boot firmware leaves to the kernel that it loads: 8259s at vectors 08h and 70h with all lines masked, timer
   * at 18.2 Hz, refresh running, keyboard on and translated, text mode 3, local APIC in virtual wire mode (MP specification 1.4, 3.6.2.2). Charges nothing.
   */
  firmware(): void {
    const { pic, timer, apic } = this;
    const write = (device: PortDevice, port: number, ...values: number[]): void => {
      for (const value of values) device.writePort(port, 1, value);
    };
    write(pic, 0x20, 0x11);
    write(pic, 0x21, 0x08, 0x04, 0x01, 0xff);
    write(pic, 0xa0, 0x11);
    write(pic, 0xa1, 0x70, 0x02, 0x01, 0xff);
    // The SCI is level-triggered.
    write(pic, 0x4d1, 1 << (SCI_IRQ - 8));
    write(timer, 0x43, 0x36);
    write(timer, 0x40, 0, 0);
    write(timer, 0x43, 0x54);
    write(timer, 0x41, 18);
    this.keyboardController.firmware();
    this.vga.firmware();
    apic.write(APIC.svr, 4, 0x1ff);
    apic.write(APIC.lvtLint0, 4, 0x700);
    apic.write(APIC.lvtLint1, 4, 0x400);
  }

  save(): PcBoardState {
    this.synchronize();
    return {
      pic: this.pic.save(),
      timer: this.timer.save(),
      rtc: this.rtc.save(),
      keyboardController: this.keyboardController.save(),
      port92: this.port92.save(),
      numericError: this.numericErrors.save(),
      vga: this.vga.save(),
      pci: this.pci.save(),
      ide: this.ide.map((channel) => channel.save()),
      busMaster: this.busMaster.save(),
      apic: this.apic.save(),
      ioApic: this.ioApic.save(),
      power: this.power.save(),
      isaDma: this.isaDma.map((controller) => controller.save()),
      dmaPages: this.dmaPages.save(),
      com1: this.com1.save(),
      com2: this.com2.save(),
      post: this.post.save(),
      firmwareConfig: this.firmwareConfig.save(),
      exitStatus: this.exit.save(),
      digest: this.digest.save(),
      console: this.console.save(),
      nmi: this.#nmi,
      apicWasEnabled: this.#apicWasEnabled,
    };
  }

  /** Restores what `save` gave; the time base must stand where it stood then. Does not report `a20` through `onA20`. */
  restore(data: PcBoardState): void {
    // The APICs last: the 8259s drive their inputs.
    this.pic.restore(data.pic);
    this.timer.restore(data.timer);
    this.rtc.restore(data.rtc);
    this.keyboardController.restore(data.keyboardController);
    this.port92.restore(data.port92);
    this.numericErrors.restore(data.numericError);
    this.vga.restore(data.vga);
    this.pci.restore(data.pci);
    for (const [n, channel] of this.ide.entries()) channel.restore(data.ide[n] as IdeState);
    this.busMaster.restore(data.busMaster);
    this.#placePorts();
    this.#a20 = this.#a20Inputs();
    this.com1.restore(data.com1);
    this.com2.restore(data.com2);
    this.power.restore(data.power);
    for (const [n, controller] of this.isaDma.entries()) controller.restore(data.isaDma[n] as I8237State);
    this.dmaPages.restore(data.dmaPages);
    this.ioApic.restore(data.ioApic);
    this.apic.restore(data.apic);
    this.post.restore(data.post);
    this.firmwareConfig.restore(data.firmwareConfig);
    this.exit.restore(data.exitStatus);
    this.digest.restore(data.digest);
    this.console.restore(data.console);
    this.#nmi = data.nmi;
    this.#apicWasEnabled = data.apicWasEnabled;
  }

  /** Whether gate A20 is open: either of its two ports holds it so. */
  get a20(): boolean {
    return this.#a20;
  }

  /** Timer ticks of the 8254 and the local APIC that were lost because the one before was still waiting. */
  get ticksLost(): number {
    return this.timer.ticksLost + this.apic.ticksLost;
  }

  nextDeadline(): number {
    return this.#alarms.earliest();
  }

  due(now: number): void {
    this.timer.synchronize(now);
    this.#alarms.fire(now);
  }

  /** Lets everything happen that is due by now. */
  synchronize(): void {
    this.due(this.#parts.time.now());
  }

  numericError(active: boolean): boolean {
    const ignored = this.numericErrors.report(active);
    this.#parts.onChange?.();
    return ignored;
  }

  readPort(port: number, bytes: number): number {
    if (this.#ports.takesWhole(port, bytes)) return this.#readCycle(port, bytes);
    let value = 0;
    for (let i = 0; i < bytes; i++) value += this.#readCycle((port + i) & 0xffff, 1) * 2 ** (8 * i);
    return value;
  }

  writePort(port: number, bytes: number, value: number): void {
    if (this.#ports.takesWhole(port, bytes)) {
      this.#writeCycle(port, bytes, value);
      return;
    }
    for (let i = 0; i < bytes; i++) this.#writeCycle((port + i) & 0xffff, 1, (value >>> (8 * i)) & 0xff);
  }

  readMemory(address: number, bytes: number): number {
    const offset = this.#apicOffset(address);
    if (offset < 0)
      return isIoApic(address) ? this.#readIoApic(address, bytes) : this.#readSharedMemory(address, bytes);
    this.#wait("apicRead");
    const value = this.apic.read(offset, bytes);
    this.#parts.onChange?.();
    return value;
  }

  writeMemory(address: number, bytes: number, value: number): void {
    const offset = this.#apicOffset(address);
    if (offset < 0 && isIoApic(address)) {
      this.#wait("ioApicWrite");
      this.ioApic.write(address - IO_APIC_BASE, bytes, value);
      this.#parts.onChange?.();
      return;
    }
    if (offset < 0) {
      const display = this.vga.claims(address);
      this.#wait(display ? "displayWrite" : "absentMemoryWrite");
      if (display) this.vga.writeMemory(address, bytes, value);
      return;
    }
    this.#wait("apicWrite");
    this.apic.write(offset, bytes, value);
    this.#parts.onChange?.();
  }

  get interruptLine(): boolean {
    if (!this.#apicEnabled()) return this.pic.intr;
    return this.apic.deliverable >= 0 || this.#externalInterrupt();
  }

  acknowledgeInterrupt(): number {
    this.synchronize();
    if (this.#apicEnabled() && (this.apic.deliverable >= 0 || !this.#externalInterrupt())) {
      return this.apic.acknowledge();
    }
    const vector = this.pic.acknowledge();
    this.#parts.charge.deviceWait(this.#parts.ticks.interruptAcknowledge, "interruptAcknowledge");
    return vector;
  }

  /** Somebody presses an NMI button: the chipset raises LINT1 unless bit 7 of port 70h masks that. */
  pressNmiButton(): void {
    if (this.rtc.nmiMasked) return;
    if (this.#apicEnabled()) {
      this.apic.setLint(1, true);
      this.apic.setLint(1, false);
    } else this.#nmi = true;
    this.#parts.onChange?.();
  }

  get nmiLine(): boolean {
    return this.#nmi;
  }

  acknowledgeNmi(): void {
    this.#nmi = false;
  }

  /** A request of the 8259s reaches the processor: through LINT0, or through the I/O APIC. */
  #externalInterrupt(): boolean {
    return this.apic.externalInterrupt || this.ioApic.externalInterrupt;
  }

  /** An ISA interrupt line: to the 8259s, and to its input of the I/O APIC. */
  #irq(irq: number): InterruptLine {
    const line = this.pic.line(irq);
    return {
      set: (level) => {
        line.set(level);
        this.ioApic.setInput(inputOfIrq(irq), level);
      },
    };
  }

  #serial(port: 1 | 2, irq: number): Uart16550 {
    const { board, time, onSerial } = this.#parts;
    return new Uart16550({
      time,
      line: this.#irq(irq),
      transmitter: board.serialTransmitter,
      onTransmit: (byte) => onSerial?.(port, byte),
    });
  }

  #a20Inputs(): boolean {
    return this.keyboardController.a20 || this.port92.a20;
  }

  #gateA20(): void {
    const open = this.#a20Inputs();
    if (open === this.#a20) return;
    this.#a20 = open;
    this.#parts.onA20?.(open);
  }

  #claimPorts(): void {
    const { pic, timer } = this;
    const ranges: readonly (readonly [first: number, last: number, bus: PortBus, device: PortDevice | null])[] = [
      [0x00, 0x0f, "chipset", this.isaDma[0] as I8237],
      [0x20, 0x21, "chipset", pic],
      [0x40, 0x43, "chipset", timer],
      [0x60, 0x60, "slow", this.keyboardController],
      [0x61, 0x61, "chipset", timer],
      [0x64, 0x64, "slow", this.keyboardController],
      [0x70, 0x71, "chipset", this.rtc],
      [0x80, 0x80, "slow", this.post],
      [PAGE_FIRST_PORT, PAGE_LAST_PORT, "chipset", this.dmaPages],
      [PORT_92, PORT_92, "chipset", this.port92],
      [0xa0, 0xa1, "chipset", pic],
      [0xc0, 0xdf, "chipset", this.isaDma[1] as I8237],
      [NUMERIC_ERROR_PORT, NUMERIC_ERROR_PORT, "chipset", this.numericErrors],
      [CONSOLE_PORT, CONSOLE_PORT, "slow", this.console],
      [DEBUG_EXIT_PORT, DEBUG_EXIT_PORT + 3, "slow", this.exit],
      [DEBUG_EXIT_DEFAULT_PORT, DEBUG_EXIT_DEFAULT_PORT + 1, "slow", this.exit],
      [0x2f8, 0x2ff, "slow", this.com2],
      [VGA_FIRST_PORT, VGA_LAST_PORT, "northBridge", this.vga],
      [0x3f8, 0x3ff, "slow", this.com1],
      [0x4d0, 0x4d1, "chipset", pic],
      [FIRMWARE_CONFIG_FIRST_PORT, FIRMWARE_CONFIG_LAST_PORT, "slow", this.firmwareConfig],
      [DIGEST_PORT, DIGEST_PORT + 3, "slow", this.digest],
      [PCI_FIRST_PORT, PCI_LAST_PORT, "northBridge", this.pci],
    ];
    for (const [n, device] of this.ide.entries()) {
      if (device.disks.length === 0) continue;
      const { command, control } = IDE_CHANNELS[n] as (typeof IDE_CHANNELS)[number];
      this.#ports.claim({ first: command, last: command + 7, bus: "chipset", device });
      this.#ports.claim({ first: control, last: control, bus: "chipset", device });
    }
    for (const [first, last, bus, device] of ranges) this.#ports.claim({ first, last, bus, device });
  }

  /** Software has written to PCI configuration space. */
  #configured(): void {
    this.#placePorts();
    for (const channel of this.ide.keys()) this.busMaster.activity(channel);
  }

  /** Puts devices where PCI configuration space says. */
  #placePorts(): void {
    const enabled = (this.pci.read16(PCI_IDE.selector, PCI_IDE.command) & PCI_COMMAND.io) !== 0;
    const first = this.pci.read16(PCI_IDE.selector, PCI_IDE.busMasterBase) & ~(BUS_MASTER_PORTS - 1);
    const place = { first, last: first + BUS_MASTER_PORTS - 1, bus: "chipset" } as const;
    this.#ports.place(this.busMaster, enabled && first !== 0 ? place : null);
    const { selector, acpiBase, acpiControl } = PCI_ISA_BRIDGE;
    const acpi = this.pci.read16(selector, acpiBase) & ~(ACPI_PORTS - 1);
    const answers = (this.pci.read16(selector, acpiControl) & ACPI_CONTROL_ENABLE) !== 0 && acpi !== 0;
    const acpiPlace = { first: acpi, last: acpi + ACPI_PORTS - 1, bus: "chipset" } as const;
    this.#ports.place(this.power, answers ? acpiPlace : null);
  }

  #readIoApic(address: number, bytes: number): number {
    this.#wait("ioApicRead");
    return this.ioApic.read(address - IO_APIC_BASE, bytes);
  }

  #readSharedMemory(address: number, bytes: number): number {
    const display = this.vga.claims(address);
    this.#wait(display ? "displayRead" : "absentMemoryRead");
    return display ? this.vga.readMemory(address, bytes) : allOnes(bytes);
  }

  #readCycle(port: number, bytes: number): number {
    const range = this.#ports.find(port);
    this.#wait(READ_COST[busOf(range)]);
    if (range === undefined) this.#countAbsent(port);
    const value = range?.device?.readPort(port, bytes) ?? allOnes(bytes);
    this.#parts.onChange?.();
    return value;
  }

  #writeCycle(port: number, bytes: number, value: number): void {
    const range = this.#ports.find(port);
    this.#wait(WRITE_COST[busOf(range)]);
    if (range === undefined) this.#countAbsent(port);
    range?.device?.writePort(port, bytes, value);
    this.#parts.onChange?.();
  }

  #countAbsent(port: number): void {
    this.absentPorts.set(port, (this.absentPorts.get(port) ?? 0) + 1);
  }

  #wait(cost: BusCost): void {
    const { charge, ticks } = this.#parts;
    charge.deviceWait(ticks[cost], cost);
    this.synchronize();
  }

  /** Offset in the local APIC's page, -1 outside of it. */
  #apicOffset(address: number): number {
    if (!this.#apicEnabled()) return -1;
    const base = this.#parts.apicBase();
    const offset = address - (base - (base % APIC_PAGE_BYTES));
    return offset >= 0 && offset < APIC_PAGE_BYTES ? offset : -1;
  }

  /** IA32_APIC_BASE[11]; clearing it resets the local APIC (SDM vol. 3, 11.4.3). */
  #apicEnabled(): boolean {
    const enabled = (this.#parts.apicBase() & APIC_BASE_ENABLE) !== 0;
    if (!enabled && this.#apicWasEnabled) this.apic.reset();
    this.#apicWasEnabled = enabled;
    return enabled;
  }
}

function isIoApic(address: number): boolean {
  return address >= IO_APIC_BASE && address < IO_APIC_BASE + IO_APIC_BYTES;
}

/** Memory of a board that has none. */
const NO_MEMORY: DmaPort = { read: (_address, into) => into.fill(0xff), write: () => undefined };

/** What no device claims is decoded by nobody but the LPC bus. */
function busOf(range: PortRange | undefined): PortBus {
  return range?.bus ?? "slow";
}
