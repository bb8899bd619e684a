/**
 * Bytes in saved state as a string of one character (00h-FFh) a byte: plain data that goes through JSON, and that is
 * compared and copied at once, where an array of numbers would take a node for each.
 */

const CHUNK = 4096;

export function toByteString(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += CHUNK) text += String.fromCharCode(...bytes.subarray(i, i + CHUNK));
  return text;
}

export function fromByteString(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
