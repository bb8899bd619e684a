import { expect, test } from "vitest";
import { I8237 } from "../../sim/devices/i8237.ts";

test("addresses and counts are written and read low byte first, from where the flip-flop was cleared", () => {
  const dma = new I8237(0, 1);
  dma.writePort(12, 1, 0);
  dma.writePort(4, 1, 0x34);
  dma.writePort(4, 1, 0x12);
  expect([dma.readPort(4), dma.readPort(4)]).toEqual([0x34, 0x12]);
  dma.readPort(4);
  dma.writePort(12, 1, 0);
  expect(dma.readPort(4)).toBe(0x34);
});

test("masks: single, all, cleared, and all set by master clear", () => {
  const dma = new I8237(0xc0, 2);
  expect(dma.readPort(0xde)).toBe(0xff);
  dma.writePort(0xd4, 1, 0);
  expect(dma.readPort(0xde)).toBe(0xfe);
  dma.writePort(0xdc, 1, 0);
  expect(dma.readPort(0xde)).toBe(0xf0);
  dma.writePort(0xde, 1, 5);
  expect(dma.readPort(0xde)).toBe(0xf5);
  dma.writePort(0xda, 1, 0);
  expect(dma.readPort(0xde)).toBe(0xff);
});

test("nothing requests and nothing has ended", () => {
  const dma = new I8237(0, 1);
  expect(dma.readPort(8)).toBe(0);
});
