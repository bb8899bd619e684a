/** A process of its own for one guest: WORKLOAD TECHNIQUE. Prints its memory in MB at its largest, less the guest's. */
import { runGuest } from "./guest.ts";

const GUEST_MB = 64;
const [workload, technique] = process.argv.slice(2) as [string, string];
runGuest({ workload, technique, commandLine: "scale=30", guestMb: GUEST_MB });
// maxRSS is in KB.
console.log(Math.round(process.resourceUsage().maxRSS / 1024 - GUEST_MB));
