/**
 * Compares our HTTP/1.1 codec with llhttp on random messages: `npm run fuzz -- --heads 1000000 --seed 7`. The first
 * disagreements are printed with what led to them, and the exit code is 1.
 */
import { toolOptions } from "../tool-options.ts";
import { type Campaign, runCampaign } from "./campaign.ts";

const { heads, seed } = toolOptions("npm run fuzz --", { heads: 100_000, seed: Date.now() });
const began = performance.now();
const result: Campaign = runCampaign(seed, heads);
for (const finding of result.findings) console.error(JSON.stringify(finding));
const seconds = ((performance.now() - began) / 1000).toFixed(1);
console.log(
  `seed ${seed}: ${result.accepted} accepted, ${result.refused} refused, ${result.waiting} incomplete, ` +
    `${result.disagreements} disagreements in ${seconds} s`,
);
process.exitCode = result.disagreements === 0 ? 0 : 1;
