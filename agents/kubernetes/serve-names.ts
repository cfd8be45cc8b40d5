import { formatAddress } from "../../federation/model/address.ts";
import type { Logger } from "../../federation/model/log.ts";
import type { Problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import type { ProcessConfig } from "../../gateway/process/config.ts";
import { listenProblem } from "../../gateway/process/fatal.ts";
import { openDnsServer } from "../dns/server.ts";
import type { ImportedServices } from "../dns/zone.ts";

/** Answers for `clusterset.local`, where cluster DNS does not know it and is told to ask here. */
export async function serveNames(
  { dnsListen }: ProcessConfig,
  services: ImportedServices,
  log: Logger,
): Promise<Result<undefined, Problem>> {
  if (dnsListen === undefined) return ok(undefined);
  try {
    await openDnsServer(dnsListen, services, log);
    return ok(undefined);
  } catch (error) {
    return err(listenProblem(formatAddress(dnsListen), error as NodeJS.ErrnoException));
  }
}
