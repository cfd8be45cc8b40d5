import { VERSION } from "../../federation/model/version.ts";
import { reportCrash } from "../../gateway/process/last-words.ts";
import { runMember } from "../../gateway/process/member.ts";
import { type KubernetesMember, prepareMember } from "./member.ts";
import { buildController } from "./stack.ts";

process.on("uncaughtException", reportCrash);
process.on("unhandledRejection", reportCrash);

let member: KubernetesMember | undefined;
await runMember(
  "controller",
  VERSION,
  (context) => {
    if (member === undefined) throw new TypeError("the controller was not prepared");
    return buildController(context, member);
  },
  async (config, log) => {
    const prepared = await prepareMember("controller", config, log);
    if (prepared.ok) member = prepared.value;
    return prepared;
  },
);
