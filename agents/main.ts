import { networkInterfaces } from "node:os";
import { VERSION } from "../federation/model/version.ts";
import { systemClock } from "../gateway/process/clock.ts";
import { reportCrash } from "../gateway/process/last-words.ts";
import { runMember } from "../gateway/process/member.ts";
import { type Capture, createCapture } from "./capture/capture.ts";
import type { MeshServices } from "./proxy/mesh.ts";
import { buildAgent } from "./proxy/stack.ts";

process.on("uncaughtException", reportCrash);
process.on("unhandledRejection", reportCrash);

// In Kubernetes: loaded only there, since an agent works without it.
const kubernetes =
  process.env["ISTHMUS_KUBERNETES"] === undefined ? undefined : await import("./kubernetes/member.ts");
let capture: Capture | undefined;
let mesh: MeshServices | undefined;
await runMember(
  "agent",
  VERSION,
  (context) => buildAgent(context, capture, mesh),
  kubernetes &&
    (async (config, log) => {
      const prepared = await kubernetes.prepareMember("agent", config, log);
      if (prepared.ok && prepared.value.captured !== undefined) {
        const { captured } = prepared.value;
        mesh = prepared.value.mesh;
        capture = createCapture({
          captured,
          guarded: prepared.value.mesh?.guarded,
          interfaces: networkInterfaces,
          clock: systemClock,
          log,
        });
      }
      return prepared;
    }),
);
