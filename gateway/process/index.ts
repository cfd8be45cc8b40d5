/** The shell that every process of ours shares: settings, time, supervisor channel, admin listener, shutdown. */
export { type Clock, type Random, systemClock, systemRandom, type Timer } from "./clock.ts";
