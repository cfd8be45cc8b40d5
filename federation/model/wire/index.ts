/** unknown -> model: what comes from files and from the network enters through here. */
export { decodeAppliedResource } from "./resource.ts";
export { type ControlMessage, decodeControlMessage } from "./control-message.ts";
export { decode } from "./decode.ts";
export { decodeLocalFederation, type LocalCluster, type LocalFederation } from "./local-federation.ts";
export { decodeMemberReport } from "./member-report.ts";
export { nearest } from "./nearest.ts";
export { decodeSnapshot } from "./snapshot.ts";
export { decodeStaticCluster } from "./static-cluster.ts";
