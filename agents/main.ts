import { reportCrash, runMember } from "../gateway/process/member.ts";
import { VERSION } from "../federation/model/version.ts";
import { buildAgent } from "./proxy/stack.ts";

process.on("uncaughtException", reportCrash);
process.on("unhandledRejection", reportCrash);
await runMember("agent", VERSION, buildAgent);
