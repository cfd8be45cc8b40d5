import { createLogger } from "../model/log.ts";
import { problem } from "../model/problem.ts";
import { systemClock } from "./clock.ts";
import { parseRegistryConfig } from "./config.ts";
import { type Fatal, fatal } from "./fatal.ts";
import { startRegistry } from "./start.ts";

function end({ text, exitCode }: Fatal): never {
  process.stderr.write(text);
  process.exit(exitCode);
}

const config = parseRegistryConfig((key) => process.env[key]);
if (!config.ok) end(fatal(problem("config_invalid", "the environment is not usable"), config.error));
const log = createLogger((line) => process.stderr.write(`${line}\n`), systemClock.now, config.value.logLevel);
const started = await startRegistry(config.value, log.with({ role: "registry" }));
if (!started.ok) end(fatal(started.error));

const { address, adminTokenFile, stop } = started.value;
let stopping = false;
function onSignal(signal: NodeJS.Signals): void {
  // Somebody is in a hurry.
  if (stopping || signal === "SIGINT") process.exit(0);
  stopping = true;
  process.send?.({ type: "draining" });
  void stop().then(() => process.exit(0));
}
process.on("SIGTERM", onSignal);
process.on("SIGINT", onSignal);
// The parent died: nobody would ever end this process.
process.once("disconnect", () => process.exit(0));
log.info("ready", { role: "registry", listen: address });
process.send?.({ type: "ready", listen: address, adminTokenFile });
