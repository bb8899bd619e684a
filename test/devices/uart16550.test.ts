import { describe, expect, test } from "vitest";
import { PulseClock } from "../../sim/devices/time.ts";
import { type SerialTransmitter, UART_FREQUENCY, Uart16550 } from "../../sim/devices/uart16550.ts";
import { ManualTime, sequence } from "./fixtures.ts";

const [DATA, IER, IIR, LCR, MCR, LSR, MSR, SCRATCH] = [0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff] as const;
const FCR = IIR;

function uart(transmitter: SerialTransmitter = "instant") {
  const time = new ManualTime();
  const line = { level: false, edges: 0 };
  const sent: number[] = [];
  const port = new Uart16550({
    time,
    transmitter,
    line: {
      set: (level) => {
        if (level && !line.level) line.edges++;
        line.level = level;
      },
    },
    onTransmit: (byte) => sent.push(byte),
  });
  const write = (at: number, value: number): void => port.writePort(at, 1, value);
  const read = (at: number): number => port.readPort(at);
  // 115 200 baud, 8 data bits, one stop bit, DTR, RTS and OUT2
  write(LCR, 0x80);
  write(DATA, 1);
  write(IER, 0);
  write(LCR, 0x03);
  write(MCR, 0x0b);
  return { port, time, line, sent, write, read };
}

const PULSES = new PulseClock(UART_FREQUENCY, new ManualTime().ticksPerSecond);
/** Pulses of a character of ten bits at 115 200 baud. */
const CHARACTER = 160;

describe("16550 registers", () => {
  test("the divisor latch hides the data and interrupt enable registers", () => {
    const { write, read } = uart();
    write(IER, 0x05);
    write(LCR, 0x83);
    write(DATA, 0x34);
    write(IER, 0x12);
    expect([read(DATA), read(IER)]).toEqual([0x34, 0x12]);
    write(LCR, 0x03);
    expect([read(IER), read(LCR)]).toEqual([0x05, 0x03]);
  });

  test("the scratch register keeps its byte, reserved bits of IER and MCR read as zero", () => {
    const { write, read } = uart();
    write(SCRATCH, 0xa7);
    write(IER, 0xff);
    write(MCR, 0xff);
    expect([read(SCRATCH), read(IER), read(MCR)]).toEqual([0xa7, 0x0f, 0x1f]);
  });

  test("IIR bits 7:6 tell that the FIFOs are on", () => {
    const { write, read } = uart();
    expect(read(IIR)).toBe(0x01);
    write(FCR, 0x01);
    expect(read(IIR)).toBe(0xc1);
  });

  test("a terminal holds CTS, DSR and DCD; in loop mode the port sees its own outputs and their changes", () => {
    const { write, read } = uart();
    expect(read(MSR)).toBe(0xb0);
    write(MCR, 0x10);
    expect(read(MSR)).toBe(0x0b);
    write(MCR, 0x1f);
    expect(read(MSR)).toBe(0xfb);
    write(MCR, 0x1b);
    expect(read(MSR)).toBe(0xb4);
    expect(read(MSR)).toBe(0xb0);
  });
});

describe("16550 transmitter", () => {
  test("instant: the byte has left and the holding register is empty when the write is complete", () => {
    const { write, read, sent, port } = uart();
    expect(read(LSR)).toBe(0x60);
    write(DATA, 0x41);
    expect(sent).toEqual([0x41]);
    expect(read(LSR)).toBe(0x60);
    expect(port.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
  });

  test("instant: each byte interrupts anew", () => {
    const { write, line } = uart();
    write(IER, 0x02);
    expect([line.level, line.edges]).toEqual([true, 1]);
    write(DATA, 0x41);
    write(DATA, 0x42);
    expect([line.level, line.edges]).toEqual([true, 3]);
  });

  test("reading IIR answers the transmitter's interrupt", () => {
    const { write, read, line } = uart();
    write(IER, 0x02);
    expect(read(IIR)).toBe(0x02);
    expect([read(IIR), line.level]).toEqual([0x01, false]);
  });

  test("timed: a character takes its ten bits, with one more waiting in the holding register", () => {
    const { write, read, sent, port, time } = uart("timed");
    write(DATA, 0x41);
    expect(read(LSR)).toBe(0x20);
    write(DATA, 0x42);
    expect(read(LSR)).toBe(0x00);
    expect(port.nextDeadline()).toBe(PULSES.ticksOf(CHARACTER));
    time.ticks = PULSES.ticksOf(CHARACTER) - 1;
    port.due(time.ticks);
    expect(sent).toEqual([]);
    time.ticks++;
    port.due(time.ticks);
    expect([sent, read(LSR)]).toEqual([[0x41], 0x20]);
    time.ticks = port.nextDeadline();
    expect(time.ticks).toBe(PULSES.ticksOf(2 * CHARACTER));
    port.due(time.ticks);
    expect([sent, read(LSR)]).toEqual([[0x41, 0x42], 0x60]);
  });

  test("timed: divisor, word length, parity and stop bits set the time of a character", () => {
    for (const [lcr, divisor, bits] of [
      [0x03, 1, 10],
      [0x07, 1, 11],
      [0x0f, 1, 12],
      [0x00, 1, 7],
      [0x04, 1, 7.5],
      [0x03, 12, 10],
    ] as const) {
      const { write, port } = uart("timed");
      write(LCR, 0x80);
      write(DATA, divisor);
      write(LCR, lcr);
      write(DATA, 0);
      expect(port.nextDeadline()).toBe(PULSES.ticksOf(bits * 16 * divisor));
    }
  });

  test("timed: the FIFO takes sixteen bytes beside the one that shifts; more are lost", () => {
    const { write, sent, port, time } = uart("timed");
    write(FCR, 0x01);
    for (let i = 0; i < 20; i++) write(DATA, i);
    time.ticks = PULSES.ticksOf(100 * CHARACTER);
    port.due(time.ticks);
    expect(sent).toEqual(Array.from({ length: 17 }, (_, i) => i));
  });

  test("timed: the interrupt comes when the FIFO has emptied into the shift register", () => {
    const { write, line, port, time } = uart("timed");
    write(FCR, 0x01);
    write(DATA, 1);
    write(DATA, 2);
    write(DATA, 3);
    write(IER, 0x02);
    expect(line.level).toBe(false);
    time.ticks = PULSES.ticksOf(CHARACTER);
    port.due(time.ticks);
    expect(line.level).toBe(false);
    time.ticks = PULSES.ticksOf(2 * CHARACTER);
    port.due(time.ticks);
    expect(line.level).toBe(true);
  });
});

describe("16550 receiver", () => {
  test("without FIFOs each byte interrupts, and the sender waits for the read", () => {
    const { write, read, line, port } = uart();
    write(IER, 0x01);
    port.receive([0x61, 0x62]);
    expect([read(IIR), read(LSR) & 0x01]).toEqual([0x04, 1]);
    expect(read(DATA)).toBe(0x61);
    expect(line.edges).toBe(2);
    expect(read(DATA)).toBe(0x62);
    expect([read(LSR) & 0x01, line.level]).toEqual([0, false]);
  });

  test("the FIFO interrupts at its trigger level", () => {
    for (const [fcr, trigger] of [
      [0x01, 1],
      [0x41, 4],
      [0x81, 8],
      [0xc1, 14],
    ] as const) {
      const { write, read, line, port } = uart();
      write(FCR, fcr);
      write(IER, 0x01);
      port.receive(Array.from({ length: trigger - 1 }, () => 0));
      expect(line.level).toBe(false);
      port.receive([0]);
      expect([line.level, read(IIR)]).toEqual([true, 0xc4]);
    }
  });

  test("bytes below the trigger interrupt after four character times, and reading one answers", () => {
    const { write, read, line, port, time } = uart();
    write(FCR, 0x81);
    write(IER, 0x01);
    port.receive([1, 2]);
    expect(port.nextDeadline()).toBe(PULSES.ticksOf(4 * CHARACTER));
    time.ticks = port.nextDeadline();
    port.due(time.ticks);
    expect([line.level, read(IIR)]).toEqual([true, 0xcc]);
    expect(read(DATA)).toBe(1);
    expect([line.level, read(IIR)]).toEqual([false, 0xc1]);
    expect(port.nextDeadline()).toBe(PULSES.ticksOf(8 * CHARACTER));
  });

  test("turning the FIFOs on or off, or the clear bit, empties them", () => {
    const { write, read, port } = uart();
    write(FCR, 0x01);
    port.receive([1, 2, 3]);
    write(FCR, 0x03);
    expect(read(LSR) & 1).toBe(0);
    port.receive([4]);
    write(FCR, 0x00);
    expect(read(LSR) & 1).toBe(0);
  });

  test("loop mode returns what is written and sends nothing; too much is an overrun", () => {
    const { write, read, sent } = uart();
    write(MCR, 0x1b);
    write(IER, 0x04);
    write(DATA, 0x55);
    expect(read(DATA)).toBe(0x55);
    write(DATA, 1);
    write(DATA, 2);
    expect(read(IIR)).toBe(0x06);
    expect(read(LSR)).toBe(0x63);
    expect(read(LSR)).toBe(0x61);
    expect([read(DATA), sent]).toEqual([2, []]);
  });

  test("interrupts by priority: line status, data, transmitter, modem", () => {
    const { write, read } = uart();
    write(MCR, 0x1b);
    write(MCR, 0x18);
    write(DATA, 1);
    write(DATA, 2);
    write(IER, 0x0f);
    expect(read(IIR)).toBe(0x06);
    read(LSR);
    expect(read(IIR)).toBe(0x04);
    read(DATA);
    expect(read(IIR)).toBe(0x02);
    expect(read(IIR)).toBe(0x00);
    read(MSR);
    expect(read(IIR)).toBe(0x01);
  });

  test("OUT2 gates the interrupt line", () => {
    const { write, line } = uart();
    write(MCR, 0x03);
    write(IER, 0x02);
    expect(line.level).toBe(false);
    write(MCR, 0x0b);
    expect(line.level).toBe(true);
  });
});

test("saved at any moment and restored, a port goes on alike", () => {
  const random = sequence(16550);
  const { port, time, sent } = uart("timed");
  for (let i = 0; i < 1500; i++) {
    const others: number[] = [];
    const other = new Uart16550({
      time,
      transmitter: "timed",
      line: { set: () => {} },
      onTransmit: (b) => others.push(b),
    });
    other.restore(JSON.parse(JSON.stringify(port.save())) as ReturnType<Uart16550["save"]>);
    const before = sent.length;
    const choice = random(4);
    const at = 0x3f8 + random(8);
    const value = random(256);
    const results = [port, other].map((one) => {
      if (choice === 0) one.writePort(at, 1, value);
      else if (choice === 1) return one.readPort(at);
      else if (choice === 2) one.due(time.ticks);
      else one.receive([value]);
      return 0;
    });
    expect(results[0]).toBe(results[1]);
    expect(other.save()).toEqual(port.save());
    expect(sent.slice(before)).toEqual(others);
    time.ticks += random(4_000_000);
  }
});
