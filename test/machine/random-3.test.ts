// Part 4 of 4 of 10 000 random programs, compiled and interpreted in lockstep.
import { verifyRandomPrograms } from "./random-batches.ts";

verifyRandomPrograms(75, 25);
