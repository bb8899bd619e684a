// `ringlab boot` with the real simulator: scripts, the interactive console, what is said when a guest does not end well.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { terminalKeys } from "../../cli/terminal.ts";
import { run } from "./environment.ts";
import { CONSOLE_GUEST, SYMBOL } from "./guest.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ringlab-boot-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const boot = (...options: string[]) => run(["boot", CONSOLE_GUEST, "--memory", "4", ...options], { real: true });
const LOGIN = ["--expect", "login: ", "--send", "bob\\n", "--expect", "# "];

describe.each(["native", "vtx"])("a script under %s", (technique) => {
  test("talks on the serial port, types on the keyboard, reads the screen, and the end is the guest's", async () => {
    const answer = await boot(
      ...["-t", technique, ...LOGIN, "--send", "keys\\n", "--expect-screen", "waiting for keys"],
      ...["--send-keys", "x<enter>", "--expect-screen=thank you", "--expect", "# ", "--send", "exit\\n", "--screen"],
    );
    expect(answer.out).toMatch(/^login: bob\r\nhello, bob\r\n# keys\r\ntype: 2d ad 1c 9c \r\n# exit\r\n\+-+\+\n/);
    expect(answer.out).toMatch(/\n\|console guest +\|\n\|waiting for keys +\|\n\|thank you +\|\n/);
    expect(answer.status).toBe(0);
    expect(answer.err).toMatch(/exit status 0\n[\d ]+ cycles/);
    expect(answer.err).toMatch(/time of +cycles +share +of which\n/);
  });

  test("--quit ends it where it stands", async () => {
    const answer = await boot("-t", technique, ...LOGIN, "--quit", "--send", "never\\n");
    expect(answer.out).toBe("login: bob\r\nhello, bob\r\n# \n");
    expect(answer.status).toBe(0);
    expect(answer.err).toContain("ended as asked");
  });
});

test("--verify runs compiled code and the interpreter in lockstep, both hearing the script", async () => {
  const answer = await boot(...LOGIN, "--send", "exit\\n", "--verify");
  expect(answer.out).toBe("login: bob\r\nhello, bob\r\n# exit\r\n");
  expect(answer.err).toContain("\ncompiled code and the interpreter were alike all the time\n");
  expect(answer.status).toBe(0);
  const wrong = await boot("--verify", "--gdb");
  expect(wrong).toMatchObject({ status: 2, out: "" });
  expect(wrong.err).toContain("--verify does not go together with --gdb");
});

test("text that never comes is status 25, with what was waited for and what came last", async () => {
  const answer = await boot(...LOGIN, "--expect", "root shell");
  expect(answer.out).toBe("login: bob\r\nhello, bob\r\n# \n");
  expect(answer.status).toBe(25);
  expect(answer.err).toMatch(
    /\nringlab: \S*console\.elf, pentium4-672, native: "root shell" never came on the serial console; the last there is "hello, bob", "#"; the run ended: asleep, [^\n]*\n$/,
  );
  const screen = await boot(...LOGIN, "--expect-screen", "blue");
  expect(screen.status).toBe(25);
  expect(screen.err).toContain('"blue" never came on the screen; the last there is "console guest"');
});

test("piped input is sent with --stdin, and not without", async () => {
  const console = { readAll: async () => Buffer.from("ann\nexit\n") };
  const argv = ["boot", CONSOLE_GUEST, "--memory", "4"];
  const sent = await run([...argv, "--stdin"], { real: true, console });
  expect(sent.out).toBe("login: ann\r\nhello, ann\r\n# exit\r\n");
  expect(sent.status).toBe(0);
  const unsent = await run(argv, { real: true, console });
  expect(unsent.out).toBe("login: \n");
  expect(unsent.status).toBe(23);
  expect(unsent.err).toMatch(/ringlab: .* asleep at 0008:001\w{5}, and no device will wake it; if it waits for input/);
});

test("the interactive console sends what is typed, and Ctrl-A is ours", async () => {
  let type: (bytes: Uint8Array) => void = () => undefined;
  let open = false;
  const typed = [
    "ann\r",
    "keys\r",
    "\u0001k",
    "x\r",
    "\u0001k",
    "\u0001c",
    "\u0001\u0001\r",
    "\u0001h",
    "\u0001s",
    "\u0001x",
  ];
  const console = {
    interactive: true,
    listen(heard: (bytes: Uint8Array) => void) {
      type = heard;
      open = true;
      return () => {
        open = false;
      };
    },
  };
  const timer = setInterval(() => {
    const next = open ? typed.shift() : undefined;
    if (next !== undefined) type(Buffer.from(next, "latin1"));
  }, 40);
  const answer = await run(["boot", CONSOLE_GUEST, "--memory", "4"], { real: true, console });
  clearInterval(timer);
  expect(answer.out).toBe("login: ann\r\nhello, ann\r\n# keys\r\ntype: 2d ad 1c 9c \r\n# \u0001\r\n\u0001?\r\n# \n");
  expect(answer.err).toContain("the serial console; Ctrl-A x ends the run");
  expect(answer.err).toMatch(/\nat 0008:001\w{5}, 32-bit protected mode, CPL 0\neax /);
  expect(answer.err).toContain("Ctrl-A h  this help");
  expect(answer.err).toContain("|console guest");
  expect(answer.err).toContain("ended as asked");
  expect(answer.status).toBe(0);
  expect(open).toBe(false);
});

test("what is typed on a terminal is keys of the keyboard, too", () => {
  const names = (typed: string) =>
    terminalKeys(typed)
      .filter(({ down }) => down)
      .map(({ name }) => name);
  expect(names("aB<")).toEqual(["a", "left-shift", "B", "left-shift", "<"]);
  expect(names("\u001b[A\u001b[3~\u001bOP\u001b")).toEqual(["up", "delete", "f1", "\u001b"]);
  expect(names("\u0003\r\u007f")).toEqual(["left-control", "c", "\r", "\u007f"]);
});

test("a bad end is followed by where the guest is: mode, registers, instructions", async () => {
  const answer = await boot(...LOGIN, "--send", "triple\\n");
  expect(answer.status).toBe(21);
  expect(answer.out).toBe("login: bob\r\nhello, bob\r\n# triple\r\n");
  expect(answer.err).toMatch(/\nat 0008:001\w{5}, 32-bit protected mode, CPL 0\neax \w{8}/);
  expect(answer.err).toMatch(/\n {3}001\w{5} {2}0f 01 5c 24 0a +lidt \[esp\+0xa\]\n=> 001\w{5} {2}cc +int3\n/);
});

test("the summary says which ports the guest tried in vain", async () => {
  const answer = await boot(...LOGIN, "--send", "probe\\n", "--expect", "# ", "--quit");
  expect(answer.err).toContain("\nports that no device has, with accesses: 300h (2), 1234h (1)\n");
});

test("what comes on port E9h is told, and shown when asked for", async () => {
  const code = join(folder, "code.bin");
  // MOV AL, 'h'; OUT E9h, AL; MOV AL, 10; OUT E9h, AL; XOR EAX, EAX; OUT F4h, EAX.
  writeFileSync(code, Uint8Array.of(0xb0, 0x68, 0xe6, 0xe9, 0xb0, 10, 0xe6, 0xe9, 0x31, 0xc0, 0xe7, 0xf4));
  const argv = ["boot", code, "--load-address", "0x100000"];
  const told = await run(argv, { real: true });
  expect(told).toMatchObject({ status: 0, out: "" });
  expect(told.err).toContain("2 bytes came on port E9h; --debugcon - shows them");
  const shown = await run([...argv, "--debugcon", "-"], { real: true });
  expect(shown).toMatchObject({ status: 0, out: "h\n" });
  expect(shown.err).not.toContain("E9h");
});

test("--memory takes units, and the spelling of old", async () => {
  for (const size of [
    ["--memory", "4M"],
    ["-m", "4"],
    ["--memory", "4096K"],
    ["--guest-memory", "4"],
  ]) {
    const answer = await run(["boot", CONSOLE_GUEST, ...size, ...LOGIN, "--quit"], { real: true });
    expect(answer.status).toBe(0);
  }
});

describe("a trace of instructions", () => {
  test.each(["native", "vtx"])("under %s is a line for each, and changes nothing", async (technique) => {
    const script = ["-t", technique, ...LOGIN, "--send", "exit\\n"];
    const [plain, traced] = [join(folder, "plain"), join(folder, "traced")];
    const without = await boot(...script);
    const all = await boot(...script, "--trace-instructions", plain);
    expect(all.err.replace(/\n\n[\d ]+ instructions traced to .*/, "")).toBe(without.err);
    const lines = readFileSync(plain, "utf8").trimEnd().split("\n");
    expect(lines[0]).toMatch(/^ +0 {2}0 {2}0008:0010\w{4} {2}bc 00 00 09 00 +mov esp, 0x90000 +; esp=00090000$/);
    const told = /([\d ]+) instructions traced/.exec(all.err)?.[1]?.replaceAll(" ", "");
    expect(lines.length).toBe(Number(told));
    const from = `0x${SYMBOL.command.toString(16)}`;
    await boot(...script, "--trace-instructions", traced, "--trace-from", from, "--trace-count", "3");
    const window = readFileSync(traced, "utf8").trimEnd().split("\n");
    expect(window.length).toBe(3);
    expect(window[0]).toContain(`0008:00${SYMBOL.command.toString(16)}  83 ec 14 `);
    // The window is a part of the whole.
    const first = lines.indexOf(window[0] as string);
    expect(lines.slice(first, first + 3)).toEqual(window);
  });

  test("begins and ends at addresses, cycles and times", async () => {
    const file = join(folder, "trace");
    const window = async (...options: string[]) => {
      const answer = await boot(...LOGIN, "--quit", "--trace-instructions", file, ...options);
      expect(answer.status).toBe(0);
      return readFileSync(file, "utf8").trimEnd().split("\n");
    };
    const cycles = (line: string | undefined) => Number(line?.trim().split(" ")[0]);
    const byCycles = await window("--trace-from", "20000", "--trace-to", "3e4");
    expect(cycles(byCycles[0])).toBeGreaterThanOrEqual(20_000);
    expect(cycles(byCycles.at(-1))).toBeLessThan(30_000);
    // 3.8 GHz.
    const byTime = await window("--trace-from", "10us", "--trace-to", "0.02ms");
    expect(cycles(byTime[0])).toBeGreaterThanOrEqual(38_000);
    expect(cycles(byTime.at(-1))).toBeLessThan(76_000);
    const byAddress = await window("--trace-to", "0x1002ee");
    expect(byAddress.at(-1)).toContain("0008:001002ee");
    expect(byAddress.length).toBe(3);
  });

  test.each([
    [["--trace-from", "1"], /--trace-from, --trace-to and --trace-count go with --trace-instructions FILE/],
    [["--trace-instructions", "x", "--gdb", "0"], /--gdb and --trace-instructions do not go together/],
    [["--trace-instructions", "x", "--trace-to", "soon"], /--trace-to takes an address .*, not "soon"/],
  ])("%j is wrong use", async (options, line) => {
    const answer = await boot(...options);
    expect(answer.status).toBe(2);
    expect(answer.err).toMatch(line);
  });
});

describe("what goes with an image", () => {
  const file = (name: string, size: number) => {
    const path = join(folder, name);
    writeFileSync(path, new Uint8Array(size));
    return path;
  };

  test.each(["native", "vtx"])(
    "a disk is booted by the BIOS under %s",
    async (technique) => {
      const answer = await run(["boot", "workloads/images/boot-sector.img", "-m", "16", "-t", technique], {
        real: true,
      });
      expect(answer.out).toMatch(/^hello from a boot sector\r?\n/);
      expect(answer.status).toBe(0);
    },
    30_000,
  );

  test.each([
    [
      "an initial RAM disk for what is no Linux kernel",
      () => ["--initrd", file("i", 8)],
      /no Linux kernel, so it takes no initial RAM disk/,
    ],
    ["a missing initial RAM disk", () => ["--initrd", "/nowhere/initrd"], /\/nowhere\/initrd: no such file/],
    [
      "a module for what is no multiboot kernel",
      () => ["--module", `${file("m", 8)} a b`],
      /no multiboot kernel, so it takes no modules/,
    ],
    ["a command line for what takes none", () => ["--append", "quiet"], /takes no command line \(--append\)/],
    ["an empty disk", () => ["--disk", file("e", 0)], /e: an empty disk image/],
    [
      "five disks",
      () => ["1", "2", "3", "4", "5"].flatMap((n) => ["--disk", file(n, 512)]),
      /5 disks: the two IDE channels take 4/,
    ],
    ["a folder as a disk", () => ["--disk", folder], /a folder, not an image/],
  ])("%s is status 15 and one line", async (_, options, line) => {
    const answer = await boot(...options());
    expect(answer.status).toBe(15);
    expect(answer.err).toMatch(line);
    expect(answer.err.trim().split("\n").length).toBe(1);
  });
});

test("a disk that is not whole sectors is one, with a warning", async () => {
  const path = join(folder, "odd.img");
  writeFileSync(path, new Uint8Array(700));
  const answer = await boot(...LOGIN, "--quit", "--disk", path);
  expect(answer.status).toBe(0);
  expect(answer.err).toMatch(
    /^ringlab: \S*odd\.img: a disk image of 700 bytes, not whole sectors of 512: it may have been cut off; its last 188 bytes/,
  );
});

test("a guest that never ends is given up at --max-cycles, and what it printed is there", async () => {
  const answer = await boot("--max-cycles", "2e6", ...LOGIN, "--send", "spin\\n");
  expect(answer.status).toBe(22);
  expect(answer.out).toContain("hello, bob");
  expect(answer.err).toMatch(/not done after 2000000 cycles, at 0008:001\w{5}; give it more with --max-cycles/);
});

test("a signal ends it, and the summary says where", async () => {
  const answer = await run(["boot", CONSOLE_GUEST, ...LOGIN, "--send", "spin\\n"], {
    real: true,
    signals: (send) => void setTimeout(() => send("SIGINT"), 300),
  });
  expect(answer.status).toBe(130);
  expect(answer.out).toContain("hello, bob");
  expect(answer.err).toMatch(/native: interrupted\n/);
  expect(answer.err).toMatch(/\n=> 001\w{5} {2}eb fe +jmp short/);
  expect(answer.err).toMatch(/\nringlab: interrupted\n$/);
});

test("the screen goes to a file", async () => {
  const file = join(folder, "screen.txt");
  const answer = await boot(...LOGIN, "--quit", "--screen", file);
  expect(answer.status).toBe(0);
  expect(readFileSync(file, "utf8").split("\n")[0]).toBe("console guest");
});

describe("wrong scripts are wrong use", () => {
  test.each([
    [["--send", "\\q"], /--send "\\q": after \\ comes n, r, t, e, 0, xHH or \\/],
    [["--send-keys", "<entr>"], /--send-keys "<entr>": no key "entr"; did you mean <enter>\?/],
    [["--expect", ""], /--expect takes a text/],
    [["--gdb", "over:there"], /--gdb takes a port, :port or host:port, not "over:there"/],
    [["--exptect", "x"], /Unknown argument: exptect; did you mean --expect\?/],
  ])("%j", async (options, line) => {
    const answer = await boot(...options);
    expect(answer.status).toBe(2);
    expect(answer.err).toMatch(line);
    expect(answer.err.trim().split("\n").length).toBe(1);
  });
});

test("files that cannot be written are status 26", async () => {
  for (const options of [
    ["--screen", join(folder, "no", "x.txt")],
    ["--debugcon", join(folder, "no", "x")],
  ]) {
    const answer = await boot(...LOGIN, "--quit", ...options);
    expect(answer.status).toBe(26);
    expect(answer.err).toMatch(/ringlab: \S+: cannot be written \(ENOENT\)\n$/);
  }
});
