import type { Socket } from "node:net";
import type { MeshEndpoint } from "./mesh.ts";

/** As it was called: whoever listens on IPv6 alone is not found by its other address. Where there are none, any will do. */
export function ofFamily(
  endpoints: readonly MeshEndpoint[],
  { remoteAddress = "" }: Pick<Socket, "remoteAddress">,
): readonly MeshEndpoint[] {
  // The other family's callers of a listener for both.
  const isV6 = remoteAddress.includes(":") && !remoteAddress.startsWith("::ffff:");
  const same = endpoints.filter(({ address }) => address.startsWith("[") === isV6);
  return same.length === 0 ? endpoints : same;
}
