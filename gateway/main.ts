import { buildGateway } from "./edge/stack.ts";
import { reportCrash } from "./process/last-words.ts";
import { runMember } from "./process/member.ts";
import { VERSION } from "../federation/model/version.ts";

process.on("uncaughtException", reportCrash);
process.on("unhandledRejection", reportCrash);
// In Kubernetes: loaded only there, since a gateway works without any of it.
const kubernetes =
  process.env["ISTHMUS_KUBERNETES"] === undefined
    ? undefined
    : await import("../agents/kubernetes/member.ts");
await runMember(
  "gateway",
  VERSION,
  buildGateway,
  kubernetes && ((config, log) => kubernetes.prepareMember("gateway", config, log)),
);
