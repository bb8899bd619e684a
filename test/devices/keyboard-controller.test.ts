import { describe, expect, test } from "vitest";
import { KeyboardController } from "../../sim/devices/keyboard-controller.ts";
import { Port92 } from "../../sim/devices/port92.ts";
import { KEYS, keyOf, translateScanCode } from "../../sim/devices/scan-codes.ts";
import { sequence } from "./fixtures.ts";

function controller() {
  const seen = { keyboard: 0, mouse: 0, a20: 0, resets: 0 };
  const levels = { keyboard: false, mouse: false };
  const line = (name: "keyboard" | "mouse") => ({
    set: (level: boolean): void => {
      if (level && !levels[name]) seen[name]++;
      levels[name] = level;
    },
  });
  const device = new KeyboardController({
    keyboardLine: line("keyboard"),
    mouseLine: line("mouse"),
    onA20: () => seen.a20++,
    onReset: () => seen.resets++,
  });
  device.reset();
  const status = (): number => device.readPort(0x64);
  const command = (...bytes: number[]): void => {
    device.writePort(0x64, 1, bytes[0] as number);
    for (const byte of bytes.slice(1)) device.writePort(0x60, 1, byte);
  };
  const data = (...bytes: number[]): void => {
    for (const byte of bytes) device.writePort(0x60, 1, byte);
  };
  /** Everything in the output buffer; the mouse's bytes with 100h added. */
  const drain = (): number[] => {
    const bytes: number[] = [];
    while ((status() & 1) !== 0) bytes.push(((status() & 0x20) << 3) | device.readPort(0x60));
    return bytes;
  };
  return { device, seen, levels, status, command, data, drain };
}

/** As firmware leaves it. */
function ready() {
  const parts = controller();
  parts.device.firmware();
  return parts;
}

describe("8042 commands", () => {
  test("self test and interface tests pass, and the system flag is set after the self test", () => {
    const { command, drain, status } = controller();
    expect(status()).toBe(0x10);
    for (const test of [0xaa, 0xab, 0xa9]) command(test);
    expect(drain()).toEqual([0x55, 0, 0]);
    expect(status()).toBe(0x1c);
  });

  test("the command byte reads as written, and status tells whether the last byte was a command", () => {
    const { command, drain, status, data } = ready();
    command(0x20);
    expect(status() & 0x09).toBe(0x09);
    expect(drain()).toEqual([0x65]);
    command(0x60, 0x47);
    expect(status() & 0x08).toBe(0);
    command(0x20);
    expect(drain()).toEqual([0x47]);
    data(0xee);
    expect(drain()).toEqual([0xee]);
  });

  test("the controller's RAM, input port, password and test inputs answer", () => {
    const { command, drain } = ready();
    command(0x75, 0x5a);
    for (const ask of [0x35, 0xc0, 0xa4, 0xe0]) command(ask);
    expect(drain()).toEqual([0x5a, 0xa0, 0xf1, 0x03]);
  });

  test("the output port opens and closes A20 and shows the full buffer", () => {
    const { device, command, drain, seen } = ready();
    expect(device.a20).toBe(true);
    command(0xd1, 0xdd);
    expect([device.a20, seen.a20]).toEqual([false, 1]);
    command(0xd0);
    expect(drain()).toEqual([0xcd]);
    command(0xdf);
    expect(device.a20).toBe(true);
    device.key("a", true);
    command(0xd0);
    expect(drain()).toEqual([0x1e, 0xdf]);
  });

  test("FEh pulses the reset line, as an output port with bit 0 clear does; other pulses do nothing", () => {
    const { command, seen } = ready();
    command(0xff);
    command(0xf1);
    expect(seen.resets).toBe(0);
    command(0xfe);
    command(0xd1, 0xde);
    expect(seen.resets).toBe(2);
  });

  test("bytes written to the buffers come back as the keyboard's and the mouse's", () => {
    const { command, drain } = ready();
    command(0xd2, 0x1c);
    command(0xd3, 0x42);
    expect(drain()).toEqual([0x1c, 0x142]);
  });

  test("a disabled keyboard's bytes wait until it is enabled", () => {
    const { device, command, drain } = ready();
    command(0xad);
    device.key("b", true);
    expect(drain()).toEqual([]);
    command(0xae);
    expect(drain()).toEqual([0x30]);
  });
});

describe("interrupts", () => {
  test("each byte is an edge of IRQ1; the line is low while nothing waits, and when it is not enabled", () => {
    const { device, seen, levels, command, drain } = ready();
    device.type("ab");
    expect([seen.keyboard, levels.keyboard]).toEqual([1, true]);
    expect(drain()).toEqual([0x1e, 0x9e, 0x30, 0xb0]);
    expect([seen.keyboard, levels.keyboard]).toEqual([4, false]);
    command(0x60, 0x44);
    device.key("a", true);
    expect([seen.keyboard, drain()]).toEqual([4, [0x1e]]);
  });

  test("the mouse's bytes raise IRQ12, with their own bit of the status", () => {
    const { seen, status, command, drain } = ready();
    command(0x60, 0x47);
    command(0xd4, 0xf2);
    expect([status() & 0x21, seen.mouse, seen.keyboard]).toEqual([0x21, 1, 0]);
    expect(drain()).toEqual([0x1fa, 0x100]);
    expect(seen.mouse).toBe(2);
  });
});

describe("the keyboard", () => {
  test("reset acknowledges and passes its test; identify, echo and the scan code set answer", () => {
    const { command, data, drain } = ready();
    command(0x60, 0x05);
    data(0xff);
    expect(drain()).toEqual([0xfa, 0xaa]);
    data(0xf2);
    expect(drain()).toEqual([0xfa, 0xab, 0x83]);
    data(0xee);
    expect(drain()).toEqual([0xee]);
    data(0xf0, 0);
    expect(drain()).toEqual([0xfa, 0xfa, 2]);
    data(0xf0, 1);
    expect(drain()).toEqual([0xfa, 0xfe]);
    data(0x12);
    expect(drain()).toEqual([0xfe]);
  });

  test("LEDs and the rate take a parameter; a command in its place is a command", () => {
    const { device, data, drain } = ready();
    data(0xed, 0x07);
    expect([drain(), device.keyboard.leds]).toEqual([[0xfa, 0xfa], 7]);
    data(0xf3, 0x2b);
    expect(drain()).toEqual([0xfa, 0xfa]);
    data(0xed, 0xee);
    expect([drain(), device.keyboard.leds]).toEqual([[0xfa, 0xee], 7]);
  });

  test("without translation set 2 comes through, break codes with F0h", () => {
    const { device, command, drain } = ready();
    command(0x60, 0x05);
    device.key("up", true);
    device.key("up", false);
    device.key("f7", true);
    expect(drain()).toEqual([0xe0, 0x75, 0xe0, 0xf0, 0x75, 0x83]);
  });

  test("translated, a break code has bit 7 set and prefixes stay", () => {
    const { device, drain } = ready();
    for (const key of ["right-control", "f7", "enter"]) {
      device.key(key, true);
      device.key(key, false);
    }
    expect(drain()).toEqual([0xe0, 0x1d, 0xe0, 0x9d, 0x41, 0xc1, 0x1c, 0x9c]);
    device.key("pause", true);
    device.key("pause", false);
    expect(drain()).toEqual([0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]);
  });

  test("text longer than the keyboard's buffer waits and arrives in order; what no key types is given back", () => {
    const { device, drain } = ready();
    const text = 'The quick brown fox, "1+1=2"\n';
    expect(device.type(`${text}\u00e9`)).toBe("\u00e9");
    const codes = drain();
    const wanted: number[] = [];
    for (const character of text) {
      const { make, shift } = keyOf(character) as { make: readonly number[]; shift: boolean };
      const code = translateScanCode(make[0] as number);
      if (shift) wanted.push(0x2a);
      wanted.push(code, code | 0x80);
      if (shift) wanted.push(0xaa);
    }
    expect(codes).toEqual(wanted);
    expect(device.key("no such key", true)).toBe(false);
  });

  test("a disabled scanner sends nothing that is typed until it is enabled", () => {
    const { device, data, drain } = ready();
    data(0xf5);
    expect(drain()).toEqual([0xfa]);
    device.key("a", true);
    expect(drain()).toEqual([]);
    data(0xf4);
    expect(drain()).toEqual([0xfa, 0x1e]);
  });

  test("Resend repeats the last byte", () => {
    const { device, command, data, drain } = ready();
    command(0x60, 0x05);
    device.key("a", true);
    expect(drain()).toEqual([0x1c]);
    data(0xfe);
    expect(drain()).toEqual([0x1c]);
  });

  test("translated codes of the letters and digits are those of set 1", () => {
    const set1 = (text: string): number[] =>
      [...text].map((c) => translateScanCode((keyOf(c) as { make: readonly number[] }).make[0] as number));
    const from = (first: number, count: number): number[] => Array.from({ length: count }, (_, i) => first + i);
    expect(set1("1234567890-=")).toEqual(from(0x02, 12));
    expect(set1("qwertyuiop[]")).toEqual(from(0x10, 12));
    expect(set1("asdfghjkl;'`")).toEqual(from(0x1e, 12));
    expect(set1("\\zxcvbnm,./")).toEqual(from(0x2b, 11));
    const keys = Array.from({ length: 10 }, (_, i) => translateScanCode(KEYS[`f${i + 1}`]?.[0] as number));
    expect(keys).toEqual(from(0x3b, 10));
  });

  test("translation gives every code below 80h a different one", () => {
    expect(new Set(Array.from({ length: 0x80 }, (_, i) => translateScanCode(i))).size).toBe(0x80);
  });
});

describe("the mouse", () => {
  /** The controller with its mouse on and reporting. */
  function moving() {
    const parts = ready();
    const mouse = (...bytes: number[]): void => {
      for (const byte of bytes) parts.command(0xd4, byte);
    };
    mouse(0xf4);
    expect(parts.drain()).toEqual([0x1fa]);
    return { ...parts, mouse };
  }

  test("reset tells its test and its identity", () => {
    const { mouse, drain } = moving();
    mouse(0xff);
    expect(drain()).toEqual([0x1fa, 0x1aa, 0x100]);
  });

  test("a packet has buttons, signs and counts; distances beyond nine bits take several", () => {
    const { device, drain } = moving();
    device.moveMouse(5, -3, 1);
    expect(drain()).toEqual([0x129, 0x105, 0x1fd]);
    device.moveMouse(300, 0, 0);
    expect(drain()).toEqual([0x108, 0x1ff, 0x100, 0x108, 0x12d, 0x100]);
    device.moveMouse(0, 0, 0);
    expect(drain()).toEqual([]);
    device.moveMouse(0, 0, 4);
    expect(drain()).toEqual([0x10c, 0x100, 0x100]);
  });

  test("nothing is reported before it is enabled or in remote mode, where data is asked for", () => {
    const { device, mouse, drain } = moving();
    mouse(0xf0);
    device.moveMouse(1, 1, 2);
    expect(drain()).toEqual([0x1fa]);
    mouse(0xeb);
    expect(drain()).toEqual([0x1fa, 0x10a, 0x101, 0x101]);
    mouse(0xea, 0xf5);
    drain();
    device.moveMouse(1, 1, 0);
    expect(drain()).toEqual([]);
  });

  test("status tells modes, buttons, resolution and rate; a resolution that is none is refused", () => {
    const { device, mouse, drain } = moving();
    mouse(0xe7);
    mouse(0xe8, 3);
    mouse(0xf3, 40);
    drain();
    device.moveMouse(0, 0, 1);
    drain();
    mouse(0xe9);
    expect(drain()).toEqual([0x1fa, 0x134, 0x103, 0x128]);
    mouse(0xe8, 9);
    expect(drain().slice(-1)).toEqual([0x1fe]);
  });

  test("scaling 2:1 doubles large counts and damps small ones", () => {
    const { device, mouse, drain } = moving();
    mouse(0xe7);
    drain();
    device.moveMouse(10, -2, 0);
    expect(drain()).toEqual([0x128, 0x114, 0x1ff]);
  });

  test("wrap mode gives every byte back but its end", () => {
    const { mouse, drain } = moving();
    mouse(0xee);
    drain();
    mouse(0xf4, 0x55);
    expect(drain()).toEqual([0x1f4, 0x155]);
    mouse(0xec);
    expect(drain()).toEqual([0x1fa]);
  });
});

test("port 92h resets on the rise of bit 0 only and shows bit 1", () => {
  let resets = 0;
  const port = new Port92(
    () => undefined,
    () => resets++,
  );
  port.writePort(0x92, 1, 0xff);
  port.writePort(0x92, 1, 0x03);
  expect([port.readPort(), resets, port.a20]).toEqual([3, 1, true]);
  port.writePort(0x92, 1, 0);
  port.writePort(0x92, 1, 1);
  expect([port.readPort(), resets, port.a20]).toEqual([1, 2, false]);
});

test("a controller restored at any moment goes on alike", () => {
  const random = sequence(8042);
  const first = controller();
  const commands = [0x20, 0x60, 0xa7, 0xa8, 0xaa, 0xad, 0xae, 0xd0, 0xd1, 0xd3, 0xd4, 0xed, 0xf2, 0xf4, 0xff];
  for (let i = 0; i < 600; i++) {
    const second = controller();
    const saved = first.device.save();
    second.device.restore(JSON.parse(JSON.stringify(saved)) as typeof saved);
    const [choice, value, key] = [random(6), commands[random(15)] as number, "abcdeXYZ"[random(8)] as string];
    const act = ({ device }: ReturnType<typeof controller>): number | string => {
      if (choice === 0) device.writePort(0x64, 1, value);
      else if (choice === 1) device.writePort(0x60, 1, value);
      else if (choice === 2) return device.readPort(0x64);
      else if (choice === 3) return device.readPort(0x60);
      else if (choice === 4) return device.type(key);
      else device.moveMouse(value, -value, value & 7);
      return 0;
    };
    expect(act(second)).toBe(act(first));
    expect(second.device.save()).toEqual(first.device.save());
  }
});
