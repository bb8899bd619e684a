/**
 * Packets of GDB's remote serial protocol (GDB manual, appendix E.1): `$data#checksum`, acknowledged by + until both sides
 * agree to leave that; } escapes a byte; 03h alone is an interrupt. A character of a string here is a byte.
 */

/** What arrives. */
export type Incoming =
  | { readonly kind: "packet"; readonly data: string }
  /** A packet whose checksum is wrong. */
  | { readonly kind: "damaged" }
  /** The other side wants the last packet again. */
  | { readonly kind: "again" }
  | { readonly kind: "interrupt" };

const INTERRUPT = "\u0003";

/** Takes a stream apart, however it was cut. */
export class PacketReader {
  #pending = "";

  /** What is complete with these bytes. */
  read(bytes: Uint8Array): Incoming[] {
    this.#pending += Buffer.from(bytes).toString("latin1");
    const arrived: Incoming[] = [];
    for (let one = this.#next(); one !== "more"; one = this.#next()) if (one !== null) arrived.push(one);
    return arrived;
  }

  /** The next thing; null for what means nothing. */
  #next(): Incoming | null | "more" {
    const text = this.#pending;
    if (text === "") return "more";
    const first = text[0] as string;
    if (first === "$") {
      const end = text.indexOf("#");
      if (end < 0 || text.length < end + 3) return "more";
      this.#pending = text.slice(end + 3);
      const body = text.slice(1, end);
      if (Number.parseInt(text.slice(end + 1, end + 3), 16) !== checksum(body)) return { kind: "damaged" };
      return { kind: "packet", data: unescaped(body) };
    }
    this.#pending = text.slice(1);
    if (first === INTERRUPT) return { kind: "interrupt" };
    return first === "-" ? { kind: "again" } : null;
  }
}

/** Data as a packet. */
export function packet(data: string): string {
  const body = data.replace(/[#$}*]/g, (one) => `}${String.fromCharCode(one.charCodeAt(0) ^ 0x20)}`);
  return `$${body}#${checksum(body).toString(16).padStart(2, "0")}`;
}

function unescaped(body: string): string {
  return body.replace(/\}(.)/gs, (_, one: string) => String.fromCharCode(one.charCodeAt(0) ^ 0x20));
}

function checksum(body: string): number {
  let sum = 0;
  for (let i = 0; i < body.length; i++) sum += body.charCodeAt(i);
  return sum & 0xff;
}

/** Bytes as hexadecimal digits, and back; null for what are none. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

export function fromHex(text: string): Uint8Array | null {
  return /^([0-9a-fA-F]{2})*$/.test(text) ? Uint8Array.from(Buffer.from(text, "hex")) : null;
}
