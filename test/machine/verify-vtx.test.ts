// Every guest under VT-x, compiled and interpreted in lockstep.
import { verifyGuests } from "./verified-guests.ts";

verifyGuests("vtx", "core2-e6700");
