import { describe, expect, test } from "vitest";
import { type InterruptMessage, IoApic, inputOfIrq } from "../../sim/devices/io-apic.ts";

/** An I/O APIC whose messages are recorded, and accepted unless `accept` is false. */
function ioApic() {
  const sent: InterruptMessage[] = [];
  const receiver = { accept: true };
  const chip = new IoApic((message) => {
    sent.push(message);
    return receiver.accept;
  });
  const write = (register: number, value: number): void => {
    chip.write(0, 4, register);
    chip.write(0x10, 4, value >>> 0);
  };
  const read = (register: number): number => {
    chip.write(0, 4, register);
    return chip.read(0x10, 4);
  };
  const entry = (input: number, low: number, high = 0): void => {
    write(0x11 + 2 * input, high);
    write(0x10 + 2 * input, low);
  };
  const low = (input: number): number => read(0x10 + 2 * input);
  return { chip, sent, receiver, write, read, entry, low, vectors: () => sent.map(({ vector }) => vector) };
}

describe("registers", () => {
  test("after reset: version 20h with 24 entries, all masked", () => {
    const { read, low } = ioApic();
    expect([read(0), read(1)]).toEqual([0x01000000, 0x170020]);
    expect(Array.from({ length: 24 }, (_, input) => low(input))).toEqual(new Array(24).fill(0x10000));
    expect([read(0x40), read(0xff)]).toEqual([0, 0]);
  });

  test("identifier, entries and the index read back as far as they can be written", () => {
    const { chip, write, read } = ioApic();
    write(0, 0xffffffff);
    write(1, 0);
    write(0x10, 0xffffffff);
    write(0x11, 0xffffffff);
    expect([read(0), read(1), read(0x10), read(0x11)]).toEqual([0x0f000000, 0x170020, 0x1afff, 0xff000000]);
    chip.write(0, 4, 0x123);
    expect(chip.read(0, 4)).toBe(0x23);
  });
});

describe("edge-triggered inputs", () => {
  test("each rise sends the entry's vector, mode and destination once", () => {
    const { chip, sent, entry } = ioApic();
    entry(4, 0x0931, 0x05000000);
    chip.setInput(4, true);
    chip.setInput(4, true);
    expect(sent).toEqual([{ vector: 0x31, mode: 1, logical: true, destination: 5, level: false }]);
    chip.setInput(4, false);
    chip.setInput(4, true);
    expect(sent.length).toBe(2);
  });

  test("an edge while masked is lost", () => {
    const { chip, vectors, entry } = ioApic();
    entry(4, 0x10031);
    chip.setInput(4, true);
    entry(4, 0x31);
    expect(vectors()).toEqual([]);
  });

  test("with the polarity turned the fall is the edge", () => {
    const { chip, vectors, entry } = ioApic();
    chip.setInput(4, true);
    entry(4, 0x2031);
    chip.setInput(4, false);
    expect(vectors()).toEqual([0x31]);
  });
});

describe("level-triggered inputs", () => {
  test("remote IRR holds until the EOI, which sends again while the input is asserted", () => {
    const { chip, vectors, entry, low } = ioApic();
    entry(9, 0x8041);
    chip.setInput(9, true);
    chip.setInput(9, false);
    chip.setInput(9, true);
    expect([vectors(), low(9)]).toEqual([[0x41], 0xc041]);
    chip.endOfInterrupt(0x40);
    expect(low(9)).toBe(0xc041);
    chip.endOfInterrupt(0x41);
    expect([vectors(), low(9)]).toEqual([[0x41, 0x41], 0xc041]);
    chip.setInput(9, false);
    chip.write(0x40, 4, 0x41);
    expect([vectors().length, low(9)]).toEqual([2, 0x8041]);
  });

  test("a level that is there when the entry opens is sent", () => {
    const { chip, vectors, entry } = ioApic();
    chip.setInput(9, true);
    entry(9, 0x18041);
    expect(vectors()).toEqual([]);
    entry(9, 0x8041);
    expect(vectors()).toEqual([0x41]);
  });

  test("what nobody accepts leaves remote IRR clear; edge triggering clears it", () => {
    const { chip, receiver, entry, low } = ioApic();
    receiver.accept = false;
    entry(9, 0x8041);
    chip.setInput(9, true);
    expect(low(9)).toBe(0x8041);
    receiver.accept = true;
    entry(9, 0x8041);
    expect(low(9)).toBe(0xc041);
    entry(9, 0x10041);
    expect(low(9)).toBe(0x10041);
  });
});

test("input 0 passes the 8259s' request on when its entry says ExtINT", () => {
  const { chip, vectors, entry } = ioApic();
  chip.setInput(0, true);
  expect(chip.externalInterrupt).toBe(false);
  entry(0, 0x700);
  expect([chip.externalInterrupt, vectors()]).toEqual([true, []]);
  chip.setInput(0, false);
  expect(chip.externalInterrupt).toBe(false);
});

test("the timer's interrupt 0 is on input 2, others are on their own", () => {
  expect([0, 1, 9, 15].map(inputOfIrq)).toEqual([2, 1, 9, 15]);
});

test("saved and restored, inputs included, it goes on alike", () => {
  const first = ioApic();
  first.entry(9, 0x8041);
  first.chip.setInput(9, true);
  const second = ioApic();
  second.chip.restore(JSON.parse(JSON.stringify(first.chip.save())) as ReturnType<IoApic["save"]>);
  second.chip.endOfInterrupt(0x41);
  expect([second.vectors(), second.low(9)]).toEqual([[0x41], 0xc041]);
});
