/**
 * The asn1 layer alone: the whole of node-forge costs every process 50 ms and 11 MB at start, and we use nothing else.
 */
declare module "node-forge/lib/asn1.js" {
  import type { asn1 as layer } from "node-forge";
  const asn1: typeof layer;
  export default asn1;
}
