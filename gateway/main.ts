import { buildGateway } from "./edge/stack.ts";
import { reportCrash, runMember } from "./process/member.ts";
import { VERSION } from "../federation/model/version.ts";

process.on("uncaughtException", reportCrash);
process.on("unhandledRejection", reportCrash);
await runMember("gateway", VERSION, buildGateway);
