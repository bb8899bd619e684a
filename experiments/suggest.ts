/** "Did you mean": the known names that look most like a wrong one. */

/** Levenshtein distance. */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, substitution));
    }
    row = next;
  }
  return row[b.length] as number;
}

/** The known name nearest to `wrong`, when one is near enough to be meant; the first of equals. */
export function nearest(wrong: string, known: readonly string[]): string | undefined {
  const wanted = wrong.toLowerCase();
  const limit = Math.max(1, Math.floor(wanted.length / 3));
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const name of known) {
    const candidate = name.toLowerCase();
    // A part of a name is meant more likely than many wrong letters, and less likely than few.
    const contains =
      Math.min(wanted.length, candidate.length) >= 3 && (candidate.includes(wanted) || wanted.includes(candidate));
    const distance = contains ? Math.min(limit, editDistance(wanted, candidate)) : editDistance(wanted, candidate);
    if (distance >= bestDistance || distance > limit) continue;
    best = name;
    bestDistance = distance;
  }
  return best;
}

/** A clause for a message: ` (did you mean "x"?)`, or the list of what there is. */
export function hint(wrong: string, known: readonly string[]): string {
  const near = nearest(wrong, known);
  return near === undefined ? `; there are ${known.join(", ")}` : `; did you mean "${near}"?`;
}
