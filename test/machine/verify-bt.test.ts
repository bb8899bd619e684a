// Guests under binary translation, compiled and interpreted in lockstep; with RINGLAB_LONG_TESTS, every one.
import { GUESTS } from "./rig.ts";
import { verifyGuests } from "./verified-guests.ts";

const SHORT = [
  ...["in", "tprwr", "pgfault", "ptemod-np2p", "cli-sti", "rdtsc", "timer-interrupt", "compute", "kstorm", "kernel"],
  ...["t-smc", "t-segments-odd", "t-interrupts-strict", "t-debug", "t-real", "t-v86", "t-modes"],
];

verifyGuests(
  "bt",
  "pentium4-672",
  process.env.RINGLAB_LONG_TESTS === undefined ? [...GUESTS.filter((guest) => !SHORT.includes(guest)), "t-bios"] : [],
);
