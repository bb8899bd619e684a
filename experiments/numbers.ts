/** Numbers as people read them: groups of three digits set apart, few decimals, and only where they say something. */

/** `15 826`, `52.3`, `1.50`: as many digits as a reader of a table wants. */
export function readable(value: number): string {
  const size = Math.abs(value);
  if (Number.isInteger(value) || size >= 1000) return grouped(Math.round(value));
  if (size >= 100) return value.toFixed(0);
  return trimmed(value.toFixed(size >= 10 ? 1 : 2));
}

/** Digits in groups of three: `1234567` is `1 234 567`. */
export function grouped(value: number): string {
  const digits = String(Math.abs(value)).replace(/\B(?=(\d{3})+$)/g, " ");
  return value < 0 ? `-${digits}` : digits;
}

/** An exact number of cycles: grouped, with at most `decimals` decimals. */
export function exactly(value: number, decimals = 2): string {
  const [whole, fraction] = trimmed(value.toFixed(decimals)).split(".") as [string, string?];
  const sign = whole.startsWith("-") ? "-" : "";
  const number = `${sign}${grouped(Math.abs(Number(whole)))}`;
  return fraction === undefined ? number : `${number}.${fraction}`;
}

/** A ratio: `1.00`, `12.4`, `3 210`. */
export function ratio(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value >= 1000) return grouped(Math.round(value));
  return value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
}

function trimmed(text: string): string {
  const short = text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  return short === "-0" ? "0" : short;
}
