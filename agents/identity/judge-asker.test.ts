import { describe, expect, it } from "vitest";
import { systemSpiffeId, type TrustDomain, workloadSpiffeId } from "../../federation/model/spiffe-id.ts";
import { judgeAsker, type ReviewedToken } from "./judge-asker.ts";

const DOMAIN = "east.demo.mesh" as TrustDomain;
const AGENT: ReviewedToken = {
  authenticated: true,
  error: "",
  username: "system:serviceaccount:isthmus-system:agent",
  audiences: ["isthmus-issuer"],
  pod: "isthmus-agent-x",
  node: "node-a",
};
const CONTROLLER: ReviewedToken = { ...AGENT, username: "system:serviceaccount:isthmus-system:controller" };
const web = workloadSpiffeId(DOMAIN, "shop", "web");

const judge = (token: ReviewedToken, spiffeId = web) =>
  judgeAsker(token, {
    spiffeId,
    trustDomain: DOMAIN,
    runsOn: ({ namespace, account }, node) => `${namespace}/${account}@${node}` === "shop/web@node-a",
  });

const without = (field: "pod" | "node"): ReviewedToken => {
  const { [field]: _, ...rest } = AGENT;
  return rest;
};

describe("who may have which identity", () => {
  it.each([
    ["an agent its own", AGENT, systemSpiffeId(DOMAIN, "agent")],
    ["an agent that of an account with a pod on its node", AGENT, web],
    ["a controller its own", CONTROLLER, systemSpiffeId(DOMAIN, "controller")],
  ])("gives %s", (_who, token, id) => {
    expect(judge(token, id)).toEqual({ ok: true, value: undefined });
  });

  it.each([
    [
      "a token that the API server does not accept",
      { ...AGENT, authenticated: false, error: "expired" },
      web,
      "expired",
    ],
    [
      "a token for the API server",
      { ...AGENT, audiences: ["https://kubernetes.default.svc"] },
      web,
      "not for isthmus-issuer",
    ],
    ["an account whose pods run elsewhere", AGENT, workloadSpiffeId(DOMAIN, "shop", "cart"), "node-a"],
    ["an agent of another node", { ...AGENT, node: "node-b" }, web, "node-b"],
    ["a token that is bound to no pod", without("pod"), web, "not bound"],
    ["a pod that has no node", without("node"), web, "not bound"],
    ["a workload's own token", { ...AGENT, username: "system:serviceaccount:shop:web" }, web, "neither"],
    [
      "an account of the same name elsewhere",
      { ...AGENT, username: "system:serviceaccount:shop:agent" },
      web,
      "neither",
    ],
    ["a controller that asks for a workload", CONTROLLER, web, "controller"],
    ["a controller that asks for an agent", CONTROLLER, systemSpiffeId(DOMAIN, "agent"), "controller"],
    ["an agent that asks for the controller", AGENT, systemSpiffeId(DOMAIN, "controller"), "no workload"],
    ["anybody who asks for a gateway", AGENT, systemSpiffeId(DOMAIN, "gateway"), "gateways hold the CA"],
    ["another trust domain", AGENT, workloadSpiffeId("west.demo.mesh" as TrustDomain, "shop", "web"), "west"],
    [
      "a path that is no workload's",
      AGENT,
      { ...web, path: "/x", uri: `spiffe://${DOMAIN}/x` },
      "no workload",
    ],
  ])("refuses %s", (_what, token, id, detail) => {
    const verdict = judge(token, id);
    expect(verdict).toMatchObject({ ok: false, error: { name: "identity_denied" } });
    expect(verdict.ok ? "" : verdict.error.detail).toMatch(detail);
  });
});
