import path from "node:path";
import { API_VERSION } from "../../model/resource.ts";
import { ok, type Result } from "../../model/result.ts";
import { findConnection } from "../connection.ts";
import { EXIT } from "../exit.ts";
import { type Failure, fail } from "../failure.ts";
import { readInput } from "../input/read-input.ts";
import { type Command, hint, type Invocation, usage } from "../invocation.ts";
import { joinMember } from "../join-member.ts";
import { isData, renderData } from "../output/format.ts";

export const join: Command = async (invocation) => {
  const { terminal, args, flags, format } = invocation;
  const [cluster = ""] = args;
  const connection = await findConnection(invocation);
  if (!connection.ok) return connection;
  const token = await readJoinToken(invocation);
  if (!token.ok) return token;
  const made = await tokenCluster(token.value);
  if (!made.ok) return made;
  if (made.value !== cluster)
    return fail("join_token_cluster", `the token is for ${made.value}, not for ${cluster}`);
  const stateDir = path.resolve(flags.text("state") ?? terminal.env("ISTHMUS_STATE_DIR") ?? cluster);
  if (flags.has("dryRun")) {
    terminal.out(
      `cluster/${cluster} would join ${connection.value.registry} and keep its key in ${stateDir}`,
    );
    return ok(EXIT.yes);
  }
  const request = {
    registryUrl: connection.value.registry,
    token: token.value,
    stateDir,
    force: flags.has("force"),
    now: () => terminal.now(),
  };
  const joined = await joinMember(request);
  if (!joined.ok) return joined;
  const { federation, trustDomain } = joined.value;
  const undo = `${terminal.program} delete cluster ${cluster}, then remove ${stateDir}`;
  const next = `${terminal.program} gateway --state ${stateDir} --member gateway-1 --listen 0.0.0.0:15008 --advertise <host>:15008`;
  if (isData(format)) {
    const facts = { cluster, federation, trustDomain, stateDir, undo, next };
    terminal.out(renderData(format, { apiVersion: API_VERSION, kind: "ClusterMembership", ...facts }));
    return ok(EXIT.yes);
  }
  terminal.out(
    format === "name"
      ? `cluster/${cluster}`
      : `cluster ${cluster} joined ${federation} as ${trustDomain}; its key and certificate are in ${stateDir}`,
  );
  hint(invocation, "undo", undo);
  hint(invocation, "next", next);
  return ok(EXIT.yes);
};

async function readJoinToken({ terminal, flags }: Invocation): Promise<Result<string, Failure>> {
  const direct = flags.text("joinToken") ?? terminal.env("ISTHMUS_JOIN_TOKEN");
  if (direct !== undefined) return ok(direct.trim());
  const file = flags.text("joinTokenFile");
  if (file === undefined) {
    return usage(
      "with which token?",
      "pass --join-token or --join-token-file; isthmus cluster register prints one",
    );
  }
  const text = await readInput(file, terminal);
  return text.ok ? ok(text.value.trim()) : text;
}

/** For which cluster the token was made, as it says itself: asked before it is spent. */
async function tokenCluster(token: string): Promise<Result<string, Failure>> {
  const { peekJoinToken } = await import("../../trust/index.ts");
  const claims = peekJoinToken(token);
  return claims.ok ? ok(claims.value.cluster) : fail(claims.error.name, claims.error.detail);
}
