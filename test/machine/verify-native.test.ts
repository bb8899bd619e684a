// Every guest natively, compiled and interpreted in lockstep.
import { verifyGuests } from "./verified-guests.ts";

verifyGuests("native", "pentium4-672");
