import type { AgentAddress } from "../../gateway/discovery/index.ts";
import { sliceEndpoints } from "./digest/endpoint-slice.ts";
import { AGENT_SERVICE } from "./labels.ts";
import type { SliceIndex } from "./slice-index.ts";

/** Tunnel listeners of this cluster's agents. Of a node that has addresses of both families, one: it is one agent. */
export function agentAddresses(slices: SliceIndex): readonly AgentAddress[] {
  const found = new Map<string, AgentAddress>();
  for (const slice of slices.of(AGENT_SERVICE.key))
    for (const { address, node } of sliceEndpoints(slice, AGENT_SERVICE.tunnelPort)) {
      const key = node ?? address;
      if (!found.has(key)) found.set(key, node === undefined ? { address } : { address, node });
    }
  return [...found.values()].sort((a, b) => (a.address < b.address ? -1 : 1));
}
