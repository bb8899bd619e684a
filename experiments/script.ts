/**
 * What a script does to a guest: waits for text, answers on the serial port or the keyboard, ends the run. It depends on
 * simulated state alone: text on the serial console is complete with the byte that completes it, and the answer is
 * there at the next instruction boundary; the screen is looked at every 10 ms of simulated time. How a run is cut into
 * slices makes no difference.
 *
 * Serial text is searched for behind the match before it, so that each answer of the guest is used once. The screen is
 * searched as it stands, rows joined by line ends.
 */
import { KEYS, keyOf } from "../sim/devices/scan-codes.ts";
import type { KeyEvent } from "../sim/machine.ts";
import { nearest } from "./suggest.ts";

export type ScriptStep =
  /** Text on the serial console, a character a byte; "" is any. */
  | { readonly kind: "expect"; readonly text: string }
  | { readonly kind: "expect-screen"; readonly text: string }
  | { readonly kind: "send"; readonly bytes: readonly number[] }
  | { readonly kind: "send-keys"; readonly keys: readonly KeyEvent[] }
  /** The run ends here, as wanted. */
  | { readonly kind: "quit" };

/** What a script acts on. */
export interface ScriptedGuest {
  /** Makes the run stop at the next instruction boundary. */
  pause(): void;
  sendSerial(bytes: readonly number[]): void;
  sendKeys(keys: readonly KeyEvent[]): void;
  screen(): readonly string[];
}

/** Simulated time between two looks at the screen, in seconds. */
export const SCREEN_PERIOD_SECONDS = 0.01;
/** Serial output that is kept while nothing is found in it. */
const KEPT_CHARACTERS = 1 << 16;

/** How far a script has come. */
export interface SavedScript {
  readonly at: number;
  readonly unseen: string;
}

export class Script {
  readonly #steps: readonly ScriptStep[];
  readonly #guest: ScriptedGuest;
  #at = 0;
  /** Serial output behind the last match. */
  #unseen = "";

  constructor(steps: readonly ScriptStep[], guest: ScriptedGuest) {
    this.#steps = steps;
    this.#guest = guest;
  }

  save(): SavedScript {
    return { at: this.#at, unseen: this.#unseen };
  }

  restore(saved: SavedScript): void {
    this.#at = saved.at;
    this.#unseen = saved.unseen;
  }

  /** The step that the script has come to; undefined when all are done. */
  get step(): ScriptStep | undefined {
    return this.#steps[this.#at];
  }

  /** Whether the script wants the run to end. */
  get quits(): boolean {
    return this.step?.kind === "quit";
  }

  /** The guest has sent a byte; stops the run where this is what was waited for. */
  heard(byte: number): void {
    if (this.step === undefined) return;
    this.#unseen += String.fromCharCode(byte);
    if (this.#unseen.length > 2 * KEPT_CHARACTERS) this.#unseen = this.#unseen.slice(-KEPT_CHARACTERS);
    const { step } = this;
    // What was there before has been searched: only this byte can complete it.
    if (step?.kind === "expect" && this.#unseen.endsWith(step.text) && this.#findSerial()) this.#guest.pause();
  }

  /** Between two instructions: sends what is due, and looks at the screen when `look` says so. */
  act(look: boolean): void {
    for (;;) {
      const step = this.step;
      switch (step?.kind) {
        case "send":
          this.#guest.sendSerial(step.bytes);
          this.#at++;
          break;
        case "send-keys":
          this.#guest.sendKeys(step.keys);
          this.#at++;
          break;
        case "expect":
          if (!this.#findSerial()) return;
          break;
        case "expect-screen":
          if (!look || !this.#guest.screen().join("\n").includes(step.text)) return;
          this.#at++;
          break;
        default:
          return;
      }
    }
  }

  /** Goes past the text that is waited for, if it has come. */
  #findSerial(): boolean {
    const step = this.step;
    if (step?.kind !== "expect") return false;
    const found = step.text === "" && this.#unseen === "" ? -1 : this.#unseen.indexOf(step.text);
    if (found < 0) return false;
    this.#unseen = this.#unseen.slice(found + step.text.length);
    this.#at++;
    return true;
  }
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", e: "\u001b", "0": "\0", "\\": "\\" };

/** Text with \n, \r, \t, \e, \0, \xHH and \\ in it as the characters that they mean; null when there is another. */
export function unescaped(text: string): string | null {
  let wrong = false;
  const plain = text.replace(/\\(?:x([0-9a-fA-F]{2})|(.?))/gs, (_, hex: string | undefined, letter: string) => {
    if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
    const meant = ESCAPES[letter];
    if (meant === undefined) wrong = true;
    return meant ?? "";
  });
  return wrong ? null : plain;
}

/** Other names of keys. */
const ALIASES: Readonly<Record<string, string>> = {
  ...{ ctrl: "left-control", control: "left-control", shift: "left-shift", alt: "left-alt", altgr: "right-alt" },
  ...{ esc: "escape", ret: "enter", return: "enter", del: "delete", ins: "insert", bs: "backspace", spc: "space" },
  ...{ pgup: "page-up", pgdn: "page-down", lt: "<", gt: ">" },
};

/**
 * Text as keys: characters of the US layout, and in angle brackets keys by name, held together by "+": `ls<enter>`,
 * `<ctrl+c>`, `<ctrl+alt+delete>`, `<lt>` for "<". The error is a sentence about the part that is none.
 */
export function keysOf(text: string): readonly KeyEvent[] | { readonly error: string } {
  const events: KeyEvent[] = [];
  for (const [part, name] of text.matchAll(/<([^<>]+)>|./gs)) {
    const held: string[] = [];
    for (const each of name === undefined ? [part] : name.split("+")) {
      const key =
        name === undefined ? each : (ALIASES[each.toLowerCase()] ?? (each.length === 1 ? each : each.toLowerCase()));
      if (KEYS[key] !== undefined) {
        held.push(key);
        continue;
      }
      const stroke = keyOf(key);
      if (stroke === undefined || part === "<") return { error: unknownKey(part, each) };
      if (stroke.shift) held.push("left-shift");
      held.push(key);
    }
    for (const key of held) events.push({ name: key, down: true });
    for (const key of held.reverse()) events.push({ name: key, down: false });
  }
  return events;
}

function unknownKey(part: string, name: string): string {
  if (part === "<") return `"<" begins the name of a key, as in <enter>; the character itself is <lt>`;
  const near = nearest(name, [...Object.keys(KEYS), ...Object.keys(ALIASES)]);
  return `no key "${name}"${near === undefined ? "" : `; did you mean <${near}>?`}`;
}
