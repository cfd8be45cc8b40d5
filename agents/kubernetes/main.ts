import { VERSION } from "../../federation/model/version.ts";
import { reportCrash, runMember } from "../../gateway/process/member.ts";
import type { KubeClient } from "./api/client.ts";
import { prepareMember } from "./member.ts";
import { buildController } from "./stack.ts";

process.on("uncaughtException", reportCrash);
process.on("unhandledRejection", reportCrash);

let client: KubeClient | undefined;
await runMember(
  "controller",
  VERSION,
  (context) => {
    if (client === undefined) throw new TypeError("the controller was not prepared");
    return buildController(context, client);
  },
  async (config, log) => {
    const prepared = await prepareMember("controller", config, log);
    if (prepared.ok) ({ client } = prepared.value);
    return prepared;
  },
);
