import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { I8254_FREQUENCY } from "../../sim/devices/i8254.ts";
import { PulseClock, ticksPerSecondOf } from "../../sim/devices/time.ts";

const P4 = ticksPerSecondOf(3800);
const CORE2 = ticksPerSecondOf(2660);

/** The same by integers of any size. */
function exactPulses(ticks: bigint, numerator: bigint, denominator: bigint, perSecond: bigint): bigint {
  return (ticks * numerator) / (denominator * perSecond);
}

describe("pulses of a crystal", () => {
  test("the 8254 counts exactly 105/88 million pulses in each second, whatever the hour", () => {
    const clock = new PulseClock(I8254_FREQUENCY, P4);
    const seconds = 88 * 2000;
    expect(clock.pulsesAt(P4 * seconds)).toBe(105_000_000 * 2000);
    expect(clock.pulsesAt(P4 * seconds - 1)).toBe(105_000_000 * 2000 - 1);
  });

  test("a deadline is the first tick at which the pulse has happened", () => {
    const clock = new PulseClock(I8254_FREQUENCY, P4);
    for (const pulse of [1, 2, 11_932, 10 ** 9, 10 ** 10 + 7]) {
      const at = clock.ticksOf(pulse);
      expect(clock.pulsesAt(at)).toBe(pulse);
      expect(clock.pulsesAt(at - 1)).toBe(pulse - 1);
    }
  });

  test("ten thousand periods add up to the whole without drift", () => {
    const clock = new PulseClock(I8254_FREQUENCY, P4);
    const period = 11_932;
    let sum = 0;
    let last = 0;
    let n = 0;
    while (n < 10_000) {
      const at = clock.ticksOf(++n * period);
      sum += at - last;
      last = at;
    }
    expect(sum).toBe(last);
    expect(BigInt(last)).toBe((BigInt(n * period) * 88n * BigInt(P4) + 104_999_999n) / 105_000_000n);
  });

  test("agrees with arithmetic of unlimited precision everywhere", () => {
    const frequencies = [
      I8254_FREQUENCY,
      { numerator: 1_843_200, denominator: 1 },
      { numerator: 800_000_000, denominator: 3 },
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...frequencies),
        fc.constantFrom(P4, CORE2, 1_000_003 * 12),
        fc.maxSafeNat(),
        ({ numerator, denominator }, perSecond, ticks) => {
          const clock = new PulseClock({ numerator, denominator }, perSecond);
          const exact = exactPulses(BigInt(ticks), BigInt(numerator), BigInt(denominator), BigInt(perSecond));
          if (exact > BigInt(Number.MAX_SAFE_INTEGER)) return;
          expect(BigInt(clock.pulsesAt(ticks))).toBe(exact);
          expect(clock.ticksOf(clock.pulsesAt(ticks))).toBeLessThanOrEqual(ticks);
        },
      ),
    );
  });

  test("nothing is scheduled for the pulse that never comes", () => {
    expect(new PulseClock(I8254_FREQUENCY, P4).ticksOf(Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY);
  });

  test("a ratio that cannot be counted exactly is refused", () => {
    expect(() => new PulseClock({ numerator: 999_999_937, denominator: 1 }, 45_600_000_001)).toThrow("exactly");
  });
});
