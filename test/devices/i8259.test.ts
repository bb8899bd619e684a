import { describe, expect, test } from "vitest";
import { I8259Pair } from "../../sim/devices/i8259.ts";
import { sequence } from "./fixtures.ts";

/** A pair as kernels set it up: vectors 20h and 28h, all lines open unless the test says otherwise. */
function pair(icw4 = 0x01, icw1 = 0x11): I8259Pair {
  const pic = new I8259Pair(() => {});
  const write = (port: number, value: number): void => pic.writePort(port, 1, value);
  write(0x20, icw1);
  for (const value of [0x20, 0x04, icw4]) write(0x21, value);
  write(0xa0, 0x11);
  for (const value of [0x28, 0x02, 0x01]) write(0xa1, value);
  return pic;
}

const pulse = (pic: I8259Pair, ...irqs: number[]): void => {
  for (const irq of irqs) {
    pic.line(irq).set(false);
    pic.line(irq).set(true);
  }
};
const command = (pic: I8259Pair, value: number): void => pic.writePort(0x20, 1, value);
const isr = (pic: I8259Pair): number => {
  command(pic, 0x0b);
  return pic.readPort(0x20);
};

describe("8259 requests and priorities", () => {
  test("IR0 comes first, then the slave's lines in the place of IR2, then IR3 to IR7", () => {
    const pic = pair(0x03);
    pulse(pic, 7, 3, 15, 8, 1, 0);
    // with automatic EOI nothing in service holds the others back
    pic.writePort(0xa0, 1, 0x20);
    expect(Array.from({ length: 4 }, () => pic.acknowledge())).toEqual([0x20, 0x21, 0x28, 0x23]);
  });

  test("a request of lower priority waits for the one in service", () => {
    const pic = pair();
    pulse(pic, 3);
    expect(pic.acknowledge()).toBe(0x23);
    pulse(pic, 5);
    expect(pic.intr).toBe(false);
    command(pic, 0x20);
    expect(pic.intr).toBe(true);
    expect(pic.acknowledge()).toBe(0x25);
  });

  test("a request of higher priority interrupts the one in service", () => {
    const pic = pair();
    pulse(pic, 5);
    pic.acknowledge();
    pulse(pic, 1);
    expect(pic.intr).toBe(true);
    expect(pic.acknowledge()).toBe(0x21);
    expect(isr(pic)).toBe(0x22);
  });

  test("a masked line is latched and comes through when the mask opens", () => {
    const pic = pair();
    pic.writePort(0x21, 1, 0x10);
    pulse(pic, 4);
    expect(pic.intr).toBe(false);
    expect(pic.readPort(0x20)).toBe(0x10);
    pic.writePort(0x21, 1, 0);
    expect(pic.acknowledge()).toBe(0x24);
  });

  test("the mask reads back at the odd port", () => {
    const pic = pair();
    pic.writePort(0x21, 1, 0xa5);
    pic.writePort(0xa1, 1, 0x5a);
    expect([pic.readPort(0x21), pic.readPort(0xa1)]).toEqual([0xa5, 0x5a]);
  });

  test("OCW3 chooses between the request and the service register", () => {
    const pic = pair();
    pulse(pic, 1, 6);
    pic.acknowledge();
    expect(isr(pic)).toBe(0x02);
    command(pic, 0x0a);
    expect(pic.readPort(0x20)).toBe(0x40);
  });
});

describe("8259 triggering", () => {
  test("an edge is one request however long the line stays high", () => {
    const pic = pair(0x03);
    pic.line(5).set(true);
    expect(pic.acknowledge()).toBe(0x25);
    pic.line(5).set(true);
    expect(pic.intr).toBe(false);
  });

  test("a line that falls before the acknowledge withdraws its request: spurious IRQ7, nothing in service", () => {
    const pic = pair();
    pic.line(5).set(true);
    pic.line(5).set(false);
    expect(pic.intr).toBe(false);
    expect(pic.acknowledge()).toBe(0x27);
    expect(isr(pic)).toBe(0);
  });

  test("a slave's line that falls between the two INTA pulses is a spurious IRQ15 with IR2 in service", () => {
    const pic = pair();
    pic.line(12).set(true);
    const level = pic.acknowledgeFirst();
    pic.line(12).set(false);
    expect(pic.acknowledgeSecond(level)).toBe(0x2f);
    expect(isr(pic)).toBe(0x04);
    expect(pic.slave.isr).toBe(0);
  });

  test("with LTIM a line that is still high after EOI requests again", () => {
    const pic = pair(0x01, 0x19);
    pic.line(5).set(true);
    expect(pic.acknowledge()).toBe(0x25);
    command(pic, 0x20);
    expect(pic.intr).toBe(true);
    pic.line(5).set(false);
    expect(pic.intr).toBe(false);
  });

  test("the edge/level registers choose by line, and not for IRQ0, 1, 2, 8 and 13", () => {
    const pic = pair();
    pic.writePort(0x4d0, 1, 0xff);
    pic.writePort(0x4d1, 1, 0xff);
    expect([pic.readPort(0x4d0), pic.readPort(0x4d1)]).toEqual([0xf8, 0xde]);
    pic.line(11).set(true);
    pic.acknowledge();
    pic.writePort(0xa0, 1, 0x20);
    command(pic, 0x20);
    expect(pic.intr).toBe(true);
  });

  test("ICW1 forgets edges, and a line that stayed high needs a new one", () => {
    const pic = pair();
    pic.line(1).set(true);
    command(pic, 0x11);
    for (const value of [0x20, 0x04, 0x01]) pic.writePort(0x21, 1, value);
    expect(pic.intr).toBe(false);
    pulse(pic, 1);
    expect(pic.acknowledge()).toBe(0x21);
  });

  test("ICW1 clears the mask, special mask mode and rotation", () => {
    const pic = pair();
    pic.writePort(0x21, 1, 0xff);
    command(pic, 0xc3);
    command(pic, 0x68);
    command(pic, 0x11);
    for (const value of [0x20, 0x04, 0x01]) pic.writePort(0x21, 1, value);
    expect(pic.readPort(0x21)).toBe(0);
    expect(pic.master.save()).toMatchObject({ lowest: 7, specialMask: false });
  });

  test("nothing interrupts in the middle of the initialization words", () => {
    const pic = pair();
    command(pic, 0x11);
    pulse(pic, 0);
    expect(pic.intr).toBe(false);
    for (const value of [0x40, 0x04, 0x01]) pic.writePort(0x21, 1, value);
    expect(pic.acknowledge()).toBe(0x40);
  });

  test("without IC4 the fourth word is not expected", () => {
    const pic = pair();
    command(pic, 0x10);
    for (const value of [0x20, 0x04]) pic.writePort(0x21, 1, value);
    pic.writePort(0x21, 1, 0xee);
    expect(pic.readPort(0x21)).toBe(0xee);
  });
});

describe("8259 end of interrupt", () => {
  test("a non-specific EOI ends the highest level in service", () => {
    const pic = pair();
    pulse(pic, 5);
    pic.acknowledge();
    pulse(pic, 1);
    pic.acknowledge();
    command(pic, 0x20);
    expect(isr(pic)).toBe(0x20);
  });

  test("a specific EOI ends the level that it names", () => {
    const pic = pair();
    pulse(pic, 5);
    pic.acknowledge();
    pulse(pic, 1);
    pic.acknowledge();
    command(pic, 0x65);
    expect(isr(pic)).toBe(0x02);
  });

  test("rotation on a non-specific EOI puts the level that ended last", () => {
    const pic = pair();
    pulse(pic, 4);
    pic.acknowledge();
    command(pic, 0xa0);
    pulse(pic, 4, 6);
    expect(pic.acknowledge()).toBe(0x26);
  });

  test("rotation on a specific EOI, and the set-priority command", () => {
    const pic = pair();
    pulse(pic, 2 + 1);
    pic.acknowledge();
    command(pic, 0xe3);
    expect(pic.master.save().lowest).toBe(3);
    command(pic, 0xc5);
    pulse(pic, 0, 6);
    expect(pic.acknowledge()).toBe(0x26);
  });

  test("automatic EOI leaves nothing in service, and rotates when told to", () => {
    const pic = pair(0x03);
    command(pic, 0x80);
    pulse(pic, 1, 3);
    expect(pic.acknowledge()).toBe(0x21);
    expect(isr(pic)).toBe(0);
    pulse(pic, 1);
    expect(pic.acknowledge()).toBe(0x23);
    command(pic, 0x00);
    pulse(pic, 0);
    expect(pic.acknowledge()).toBe(0x20);
    expect(pic.master.save().lowest).toBe(3);
  });

  test("in special mask mode a masked level in service holds back neither higher nor lower ones", () => {
    const pic = pair();
    pulse(pic, 3);
    pic.acknowledge();
    pic.writePort(0x21, 1, 0x08);
    pulse(pic, 6);
    expect(pic.intr).toBe(false);
    command(pic, 0x68);
    expect(pic.acknowledge()).toBe(0x26);
    // a non-specific EOI passes over the masked level
    command(pic, 0x20);
    expect(isr(pic)).toBe(0x08);
    command(pic, 0x48);
    pulse(pic, 6);
    expect(pic.intr).toBe(false);
  });
});

describe("8259 cascade and poll", () => {
  test("an interrupt of the slave needs an EOI at both", () => {
    const pic = pair();
    pulse(pic, 14);
    expect(pic.acknowledge()).toBe(0x2e);
    expect([isr(pic), pic.slave.isr]).toEqual([0x04, 0x40]);
    pulse(pic, 15);
    pic.writePort(0xa0, 1, 0x20);
    expect(pic.intr).toBe(false);
    command(pic, 0x20);
    expect(pic.acknowledge()).toBe(0x2f);
  });

  test("a higher line of the same slave gets through in special fully nested mode only", () => {
    for (const [icw4, expected] of [
      [0x01, false],
      [0x11, true],
    ] as const) {
      const pic = pair(icw4);
      pulse(pic, 12);
      pic.acknowledge();
      pulse(pic, 8);
      expect(pic.intr).toBe(expected);
    }
  });

  test("with automatic EOI at the slave its next request is a new edge for the master", () => {
    const pic = pair();
    pic.writePort(0xa0, 1, 0x11);
    for (const value of [0x28, 0x02, 0x03]) pic.writePort(0xa1, 1, value);
    pulse(pic, 9, 10);
    expect(pic.acknowledge()).toBe(0x29);
    command(pic, 0x20);
    expect(pic.acknowledge()).toBe(0x2a);
  });

  test("a poll acknowledges and names the level, or reads 0", () => {
    const pic = pair();
    pulse(pic, 6);
    command(pic, 0x0c);
    expect(pic.readPort(0x20)).toBe(0x86);
    expect(isr(pic)).toBe(0x40);
    command(pic, 0x0c);
    expect(pic.readPort(0x20)).toBe(0);
    expect(pic.readPort(0x20)).toBe(0x40);
  });
});

test("the INTR output is reported on every change", () => {
  const seen: boolean[] = [];
  const pic = new I8259Pair((level) => {
    if (seen.at(-1) !== level) seen.push(level);
  });
  for (const [port, value] of [
    [0x20, 0x11],
    [0x21, 0x20],
    [0x21, 0x04],
    [0x21, 0x01],
  ] as const) {
    pic.writePort(port, 1, value);
  }
  pulse(pic, 1);
  pic.acknowledge();
  expect(seen).toEqual([false, true, false]);
});

test("saved at any moment and restored, a pair goes on alike", () => {
  const random = sequence(8259);
  const step = (pic: I8259Pair, choice: number, value: number): number => {
    if (choice < 4) pic.line([0, 1, 3, 4, 5, 8, 12, 14][value & 7] as number).set((value & 8) !== 0);
    else if (choice === 4) return pic.acknowledge();
    else if (choice === 5) return pic.readPort([0x20, 0x21, 0xa0, 0xa1][value & 3] as number);
    else if (choice === 6) pic.writePort((value & 1) === 0 ? 0x20 : 0xa0, 1, value & 0xef);
    else pic.writePort((value & 1) === 0 ? 0x21 : 0xa1, 1, value & 0xfb);
    return pic.intr ? 1 : 0;
  };
  const original = pair();
  for (let i = 0; i < 3000; i++) {
    const copy = new I8259Pair(() => {});
    copy.restore(JSON.parse(JSON.stringify(original.save())) as ReturnType<I8259Pair["save"]>);
    const choice = random(8);
    const value = random(256);
    expect(step(copy, choice, value)).toBe(step(original, choice, value));
    expect(copy.save()).toEqual(original.save());
  }
});
