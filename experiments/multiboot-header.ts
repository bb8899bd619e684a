/**
 * The multiboot header of a kernel (Multiboot Specification 0.6.96, 3.1): in the first 8 192 bytes of the file, aligned to
 * four. With flag 16 it says itself where the file is loaded, so that it need not be ELF.
 *
 * A wish for a video mode (flag 2) is not met, as the information structure then says: kernels have to look there.
 */
import { Problem } from "./problem.ts";

const MAGIC = 0x1badb002;
const SEARCH_BYTES = 8192;
const MULTIBOOT_2 = { magic: 0xe85250d6, searchBytes: 32_768, alignment: 8 } as const;
const FLAG = { pageAlign: 1 << 0, memory: 1 << 1, video: 1 << 2, addresses: 1 << 16 } as const;
/** Flags 0 to 15 are demands on the loader. */
const DEMANDS = 0xffff;
const MET = FLAG.pageAlign | FLAG.memory | FLAG.video;

/** Physical addresses of what flag 16 describes. */
export interface MultibootAddresses {
  /** First byte of the file that is loaded, and where it goes. */
  readonly fileOffset: number;
  readonly load: number;
  readonly fileBytes: number;
  /** End of the loaded image, .bss included. */
  readonly end: number;
  readonly entry: number;
}

export interface MultibootHeader {
  readonly addresses: MultibootAddresses | null;
}

/** The header of these bytes, null if there is none; `name` is for messages. Throws a Problem (`bad-image`). */
export function multibootHeader(bytes: Uint8Array, name: string): MultibootHeader | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = Math.min(bytes.length, SEARCH_BYTES) - 12;
  for (let at = 0; at <= end; at += 4) {
    if (view.getUint32(at, true) !== MAGIC) continue;
    const flags = view.getUint32(at + 4, true);
    if ((MAGIC + flags + view.getUint32(at + 8, true)) % 2 ** 32 !== 0) continue;
    if ((flags & DEMANDS & ~MET) !== 0) {
      throw new Problem(
        "bad-image",
        `${name}: its multiboot header asks for what we do not offer (flags ${flags.toString(16)}h)`,
      );
    }
    return { addresses: (flags & FLAG.addresses) !== 0 ? addressesAt(view, at, name) : null };
  }
  return null;
}

/** Whether these bytes have a multiboot 2 header. */
export function isMultiboot2(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = Math.min(bytes.length, MULTIBOOT_2.searchBytes) - 16;
  for (let at = 0; at <= end; at += MULTIBOOT_2.alignment) {
    if (view.getUint32(at, true) !== MULTIBOOT_2.magic) continue;
    const sum = [0, 4, 8, 12].reduce((total, offset) => total + view.getUint32(at + offset, true), 0);
    if (sum % 2 ** 32 === 0) return true;
  }
  return false;
}

/** header_addr, load_addr, load_end_addr (0: to the end of the file), bss_end_addr (0: no .bss), entry_addr. */
function addressesAt(view: DataView, at: number, name: string): MultibootAddresses {
  const fail = (what: string): never => {
    throw new Problem("bad-image", `${name}: its multiboot header ${what}`);
  };
  if (at + 32 > view.byteLength) fail("is cut off by the end of the file");
  const [header, load, loadEnd, bssEnd, entry] = [12, 16, 20, 24, 28].map((o) => view.getUint32(at + o, true)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const fileOffset = at - (header - load);
  if (load > header || fileOffset < 0) fail(`loads the file from byte ${fileOffset} on, which it has not`);
  const fileBytes = loadEnd === 0 ? view.byteLength - fileOffset : loadEnd - load;
  if (fileBytes <= 0 || fileOffset + fileBytes > view.byteLength) {
    fail(`loads the file up to byte ${fileOffset + fileBytes}, and it has ${view.byteLength}`);
  }
  const end = Math.max(bssEnd, load + fileBytes);
  if (entry < load || entry >= end) fail(`has an entry at ${entry.toString(16)}h, outside of what it loads`);
  return { fileOffset, load, fileBytes, end, entry };
}
