import { bundleMap, federationInfo, jwks } from "../../model/wire/api.ts";
import { timestamp } from "../../registry/clock.ts";
import { type Endpoint, pathParam } from "../endpoint.ts";
import { problemError } from "../problem-error.ts";

/** What anyone may know: a bundle endpoint must not ask for a credential (SPIFFE Federation §5.1). */
export const FEDERATION_ENDPOINTS: readonly Endpoint[] = [
  {
    method: "get",
    path: "/v1/federation",
    summary: "The federation's name, the keys that sign its snapshots, and the registry's time",
    security: ["open"],
    answer: { status: 200, schema: federationInfo },
    handle: (c, { registry }) =>
      c.json({
        name: registry.state.federation,
        snapshotKeys: registry.authority.snapshotKeys(registry.state),
        time: timestamp(registry.clock.now()),
      }),
  },
  {
    method: "get",
    path: "/v1/bundles",
    summary: "The SPIFFE bundles of all joined clusters, by trust domain",
    security: ["open"],
    answer: { status: 200, schema: bundleMap },
    handle: (c, { registry }) => c.json(registry.bundles()),
  },
  {
    method: "get",
    path: "/v1/bundles/{trustDomain}",
    summary: "The SPIFFE bundle of one trust domain",
    security: ["open"],
    answer: { status: 200, schema: jwks },
    handle(c, { registry }) {
      const name = pathParam(c, "trustDomain");
      const bundle = Object.entries(registry.bundles().trust_domains).find(
        ([domain]) => domain === name,
      )?.[1];
      if (bundle === undefined)
        throw problemError("not_found", `no cluster has joined with the trust domain ${name}`);
      return c.json(bundle);
    },
  },
];
