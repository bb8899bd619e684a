/** Runs that a signal stops: Ctrl-C ends them in order, with one line that says what was kept. */
import { Interrupted } from "../experiments/runner.ts";
import { type Environment, Stopped } from "./environment.ts";
import type { StopSignal } from "./exit-codes.ts";

/** Runs `act` with an abort signal. Rejects with Stopped, and with what was kept, when a signal came first. */
export async function stoppable<T>(environment: Environment, act: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let stopSignal: StopSignal | undefined;
  const forget = environment.onStop((signal) => {
    stopSignal = signal;
    controller.abort();
  });
  try {
    return await act(controller.signal);
  } catch (error) {
    if (!(error instanceof Interrupted) || stopSignal === undefined) throw error;
    const { total, message } = error;
    throw new Stopped(
      stopSignal,
      total === 1 ? "interrupted" : `${message}; they are kept, and the same command goes on from there`,
    );
  } finally {
    forget();
  }
}
