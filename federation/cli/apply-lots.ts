import type { AppliedResource } from "../model/resource.ts";
import { err, ok, type Result } from "../model/result.ts";
import { type ApplyResponse, MAX_APPLIED, MAX_REQUEST_BYTES } from "../model/wire/api.ts";
import type { RegistryClient, RegistryFailure } from "./registry-client.ts";

type Applied = Result<ApplyResponse, RegistryFailure>;

/** What the request has besides its resources. */
const ENVELOPE_BYTES = 1_024;

/**
 * Applies any number of resources. The registry takes a bounded request at a time, whole or not at all: several are tried without
 * effect first, so that a mistake in the last one changes nothing either.
 */
export async function applyInLots(
  registry: RegistryClient,
  resources: readonly AppliedResource[],
  dryRun = false,
): Promise<Applied> {
  const lots = lotsOf(resources);
  if (lots.length <= 1) return registry.apply(resources, { dryRun });
  const tried = await applyEach(registry, lots, true);
  return !tried.ok || dryRun ? tried : applyEach(registry, lots, false);
}

async function applyEach(
  registry: RegistryClient,
  lots: readonly (readonly AppliedResource[])[],
  dryRun: boolean,
): Promise<Applied> {
  const results: ApplyResponse["results"][number][] = [];
  let revision = 0;
  for (const lot of lots) {
    const answer = await registry.apply(lot, { dryRun });
    if (!answer.ok) return err(inWhole(answer.error, results.length, dryRun));
    results.push(...answer.value.results);
    ({ revision } = answer.value);
  }
  return ok({ revision, dryRun, results });
}

const IN_REQUEST = /^resources\[([0-9]+)\]/;

/** A lot's failure as one of all the resources, `done` of which were sent before it. */
function inWhole(failure: RegistryFailure, done: number, dryRun: boolean): RegistryFailure {
  const issues = failure.issues?.map((issue) => ({
    ...issue,
    path: issue.path.replace(IN_REQUEST, (_, index: string) => `resources[${Number(index) + done}]`),
  }));
  const detail =
    dryRun || done === 0
      ? failure.detail
      : `${failure.detail}; the first ${done} resources were applied before, and stay as they are when all are applied again`;
  return { ...failure, detail, ...(issues === undefined ? {} : { issues }) };
}

function lotsOf(resources: readonly AppliedResource[]): readonly (readonly AppliedResource[])[] {
  const lots: AppliedResource[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const resource of resources) {
    const size = Buffer.byteLength(JSON.stringify(resource)) + 1;
    const last = lots.at(-1);
    if (last === undefined || last.length === MAX_APPLIED || bytes + size > MAX_REQUEST_BYTES) {
      lots.push([resource]);
      bytes = ENVELOPE_BYTES + size;
    } else {
      last.push(resource);
      bytes += size;
    }
  }
  return lots;
}
