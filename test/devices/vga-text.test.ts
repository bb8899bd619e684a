import { describe, expect, test } from "vitest";
import { CODE_PAGE_437 } from "../../sim/devices/code-page-437.ts";
import { VgaText } from "../../sim/devices/vga-text.ts";
import { ManualTime, sequence } from "./fixtures.ts";

const BUFFER = 0xb8000;

function display(firmware = true) {
  const time = new ManualTime();
  const vga = new VgaText(time);
  if (firmware) vga.firmware();
  const out = (port: number, ...values: number[]): void => {
    for (const value of values) vga.writePort(port, 1, value);
  };
  const crtc = (index: number, value: number): void => {
    out(0x3d4, index);
    out(0x3d5, value);
  };
  const print = (at: number, text: string): void => {
    [...text].forEach((c, i) => {
      vga.writeMemory(BUFFER + 2 * (at + i), 2, 0x1700 | c.charCodeAt(0));
    });
  };
  return { vga, time, out, crtc, print, read: (port: number) => vga.readPort(port) };
}

describe("the screen", () => {
  test("firmware leaves 80 x 25 blanks with the cursor at the top left", () => {
    const { vga } = display();
    expect([vga.columns, vga.rows, vga.cursor]).toEqual([80, 25, { row: 0, column: 0 }]);
    expect(vga.text()).toEqual(new Array(25).fill(""));
    expect(vga.cells()[24]?.[79]).toEqual({ code: 0x20, attribute: 0x07 });
  });

  test("characters stand where their addresses say, with their attributes", () => {
    const { vga, print } = display();
    print(3 * 80 + 5, "hello");
    print(25 * 80, "not on the screen");
    expect(vga.text()[3]).toBe("     hello");
    expect(vga.text().filter((row) => row !== "")).toHaveLength(1);
    expect(vga.cells()[3]?.[5]).toEqual({ code: 0x68, attribute: 0x17 });
  });

  test("the start address scrolls, and the buffer wraps at its end", () => {
    const { vga, crtc, print } = display();
    print(80, "second");
    print(0, "first");
    crtc(0x0d, 80);
    expect(vga.text()[0]).toBe("second");
    crtc(0x0c, 0x3f);
    crtc(0x0d, 0xb0);
    expect(vga.text().slice(0, 3)).toEqual(["", "first", "second"]);
  });

  test("40 columns and 50 rows are what the CRT controller says", () => {
    const { vga, crtc, print } = display();
    crtc(0x09, 0x47);
    expect(vga.rows).toBe(50);
    crtc(0x11, 0x0e);
    crtc(0x01, 39);
    crtc(0x13, 20);
    print(40, "row one");
    expect([vga.columns, vga.text()[1]]).toEqual([40, "row one"]);
  });

  test("the cursor follows its registers and can be hidden", () => {
    const { vga, crtc } = display();
    crtc(0x0e, (12 * 80 + 34) >> 8);
    crtc(0x0f, (12 * 80 + 34) & 0xff);
    expect(vga.cursor).toEqual({ row: 12, column: 34 });
    crtc(0x0e, 0x3f);
    expect(vga.cursor).toBeNull();
    crtc(0x0e, 0);
    crtc(0x0a, 0x20);
    expect(vga.cursor).toBeNull();
  });

  test("codes beyond ASCII are those of code page 437", () => {
    const { vga } = display();
    expect(CODE_PAGE_437).toHaveLength(256);
    [0xc9, 0xcd, 0xbb, 0xdb, 0x81, 0xe1, 0x01].forEach((code, i) => {
      vga.writeMemory(BUFFER + 2 * i, 1, code);
    });
    expect(vga.text()[0]).toBe("╔═╗█üß☺");
    expect([0x41, 0x7f, 0x80, 0xb0, 0xe0, 0xfe].map((code) => CODE_PAGE_437[code])).toEqual([..."A⌂Ç░α■"]);
  });

  test("without a mode there is no text and no memory answers; neither in a graphics mode", () => {
    const blank = display(false);
    expect([blank.vga.text(), blank.vga.claims(BUFFER)]).toEqual([[], false]);
    const { vga, out } = display();
    out(0x3ce, 6);
    out(0x3cf, 0x05);
    expect([vga.text(), vga.claims(BUFFER)]).toEqual([[], false]);
  });
});

describe("memory", () => {
  test("the buffer is 32 KB at B8000h, readable and writable in every width", () => {
    const { vga } = display();
    expect([0xb7fff, 0xb8000, 0xbffff, 0xc0000].map((at) => vga.claims(at))).toEqual([false, true, true, false]);
    vga.writeMemory(0xb8004, 4, 0xf1e2d3c4);
    expect([vga.readMemory(0xb8004, 4), vga.readMemory(0xb8005, 2), vga.readMemory(0xb8007, 1)]).toEqual([
      0xf1e2d3c4, 0xe2d3, 0xf1,
    ]);
    vga.writeMemory(0xbfffe, 4, 0x44332211);
    expect(vga.readMemory(0xbfffe, 4)).toBe(0xffff2211);
  });
});

describe("registers", () => {
  test("index and data of sequencer, graphics and CRT controller; what is not there reads zero", () => {
    const { out, read } = display();
    for (const [index, data] of [
      [0x3c4, 0x3c5],
      [0x3ce, 0x3cf],
    ] as const) {
      out(index, 3);
      out(data, 0x1b);
      expect([read(index), read(data)]).toEqual([3, 0x1b]);
    }
    out(0x3d4, 0x0f);
    out(0x3d5, 0x42);
    expect([read(0x3d4), read(0x3d5)]).toEqual([0x0f, 0x42]);
    out(0x3d4, 0x1f);
    out(0x3d5, 0x42);
    expect(read(0x3d5)).toBe(0);
    expect([read(0x3cc), read(0x3c2), read(0x3ca)]).toEqual([0x67, 0x10, 0]);
  });

  test("CRT controller registers 0 to 7 are protected but for one bit", () => {
    const { out, read, crtc } = display();
    crtc(0x01, 0x27);
    expect(read(0x3d5)).toBe(0x4f);
    crtc(0x07, 0xe0);
    expect(read(0x3d5)).toBe(0x0f);
    out(0x3d4, 0x11);
    out(0x3d5, 0x0e);
    crtc(0x01, 0x27);
    expect(read(0x3d5)).toBe(0x27);
  });

  test("the attribute port takes index and data in turn, and reading 3DAh starts with the index", () => {
    const { out, read } = display();
    read(0x3da);
    out(0x3c0, 0x2b, 0x15);
    expect([read(0x3c0), read(0x3c1)]).toEqual([0x2b, 0x15]);
    out(0x3c0, 0x21);
    read(0x3da);
    out(0x3c0, 0x2b);
    expect(read(0x3c1)).toBe(0x15);
  });

  test("the palette counts through its components", () => {
    const { out, read } = display();
    out(0x3c8, 10);
    out(0x3c9, 1, 2, 0xff, 4);
    out(0x3c7, 10);
    expect([read(0x3c9), read(0x3c9), read(0x3c9), read(0x3c9), read(0x3c7)]).toEqual([1, 2, 0x3f, 4, 3]);
    out(0x3c7, 0x14);
    expect([read(0x3c9), read(0x3c9), read(0x3c9)]).toEqual([42, 21, 0]);
  });

  test("the colour ports answer only while the colour display is selected", () => {
    const { out, read } = display();
    out(0x3c2, 0x66);
    expect([read(0x3d4), read(0x3da)]).toEqual([0xff, 0xff]);
    out(0x3c2, 0x67);
    expect(read(0x3d5)).toBe(0x5f);
  });

  test("vertical retrace comes 70 times a second, for two lines", () => {
    const { time, read } = display();
    const step = time.ticksPerSecond / 35_000;
    let [edges, before, retrace, hidden] = [0, 0, 0, 0];
    for (let i = 0; i < 35_000; i++) {
      time.ticks = Math.floor(i * step);
      const now = read(0x3da);
      if ((now & 8) !== 0 && before === 0) edges++;
      before = now & 8;
      if ((now & 8) !== 0) retrace++;
      if ((now & 1) !== 0) hidden++;
    }
    expect(edges).toBe(70);
    expect(retrace / 35_000).toBeCloseTo(2 / 449, 3);
    expect(hidden / 35_000).toBeCloseTo(1 - (400 * 720) / (449 * 900), 2);
  });
});

test("a display restored at any moment goes on alike", () => {
  const random = sequence(640_480);
  const first = display();
  for (let i = 0; i < 300; i++) {
    const second = display(false);
    second.vga.restore(structuredClone(first.vga.save()));
    const [choice, port, value, at] = [random(3), 0x3c0 + random(32), random(256), BUFFER + random(0x8000)];
    const act = ({ vga }: ReturnType<typeof display>): number => {
      if (choice === 0) vga.writePort(port, 1, value);
      else if (choice === 1) return vga.readPort(port);
      else vga.writeMemory(at, 2, value * 0x101);
      return 0;
    };
    expect(act(second)).toBe(act(first));
    expect(second.vga.save()).toEqual(first.vga.save());
  }
});
