import { VERSION } from "../federation/model/version.ts";
import { systemClock } from "../gateway/process/clock.ts";
import { reportCrash, runMember } from "../gateway/process/member.ts";
import { type Capture, createCapture } from "./capture/capture.ts";
import { buildAgent } from "./proxy/stack.ts";

process.on("uncaughtException", reportCrash);
process.on("unhandledRejection", reportCrash);

// In Kubernetes: loaded only there, since an agent works without it.
const kubernetes =
  process.env["ISTHMUS_KUBERNETES"] === undefined ? undefined : await import("./kubernetes/member.ts");
let capture: Capture | undefined;
await runMember(
  "agent",
  VERSION,
  (context) => buildAgent(context, capture),
  kubernetes &&
    (async (config, log) => {
      const prepared = await kubernetes.prepareMember("agent", config, log);
      if (prepared.ok && prepared.value.captured !== undefined)
        capture = createCapture({ captured: prepared.value.captured, clock: systemClock, log });
      return prepared;
    }),
);
