import { parseAddress } from "../../model/address.ts";
import { ok, type Result } from "../../model/result.ts";
import { parseCsr } from "../../trust/index.ts";
import { EXIT } from "../exit.ts";
import { type Failure, fail } from "../failure.ts";
import { readInput } from "../input/read-input.ts";
import { type ExternalCaSettings, installManifest, uninstallManifest } from "../install/manifest.ts";
import { type Command, hint, type Invocation, usage } from "../invocation.ts";

/** Where a gateway puts what the root has made of the request. */
const CA_CERTIFICATE =
  "kubectl get configmap -n isthmus-system isthmus-cluster -o jsonpath='{.data.ca\\.crt}'";
const APPLY = "| kubectl apply -f -";

/** Prints, and touches no cluster: what is applied, and with whose rights, is kubectl's business. */
export const install: Command = async (invocation) => {
  const { terminal, flags } = invocation;
  if (!flags.has("manifest"))
    return usage("nothing is applied from here", `isthmus install --manifest … ${APPLY}`);
  const registry = flags.text("registry") ?? terminal.env("ISTHMUS_REGISTRY");
  if (registry === undefined) return usage("which registry?", "--registry https://registry.example.com");
  if (!/^https?:$/.test(URL.parse(registry)?.protocol ?? ""))
    return usage(`${registry} is no http(s) URL`, "--registry https://…");
  const advertise = flags.text("advertise") ?? "";
  const address = parseAddress(advertise);
  if (!address.ok || address.value.port === 0)
    return usage("where do other clusters dial the gateways?", "--advertise gateway.example.com:15008");
  const token = await readToken(invocation);
  if (!token.ok) return token;
  const ca = await readCa(invocation);
  if (!ca.ok) return ca;
  const imagePrefix = flags.text("imagePrefix");
  const imageTag = flags.text("imageTag");
  terminal.out(
    installManifest({
      registry: registry.replace(/\/+$/, ""),
      advertise,
      ...(token.value === undefined ? {} : { joinToken: token.value }),
      agents: flags.has("agents"),
      ...(imagePrefix === undefined ? {} : { imagePrefix }),
      ...(imageTag === undefined ? {} : { imageTag }),
      ...(ca.value === undefined ? {} : { ca: ca.value }),
    }).trimEnd(),
  );
  hint(
    invocation,
    "undo",
    `${terminal.program} uninstall --manifest | kubectl delete --ignore-not-found -f -`,
  );
  if (ca.value !== undefined) hint(invocation, "give the issuer", CA_CERTIFICATE);
  hint(invocation, "next", "kubectl -n isthmus-system rollout status deploy/isthmus-gateway");
  return ok(EXIT.yes);
};

export const uninstall: Command = async (invocation) => {
  const { terminal, flags } = invocation;
  if (!flags.has("manifest"))
    return usage(
      "nothing is deleted from here",
      "isthmus uninstall --manifest | kubectl delete --ignore-not-found -f -",
    );
  terminal.out(uninstallManifest(flags.has("mcs")).trimEnd());
  hint(invocation, "next", `${terminal.program} delete cluster <name>: the registry still knows it`);
  return ok(EXIT.yes);
};

async function readToken({ terminal, flags }: Invocation): Promise<Result<string | undefined, Failure>> {
  const file = flags.text("joinTokenFile");
  if (file === undefined) return ok(undefined);
  const text = await readInput(file, terminal);
  if (!text.ok) return text;
  const token = text.value.trim();
  return token === "" ? fail("file_invalid", `${file} holds no token`) : ok(token);
}

async function readCa({
  terminal,
  flags,
}: Invocation): Promise<Result<ExternalCaSettings | undefined, Failure>> {
  const [file, issuer] = [flags.text("caCsr"), flags.text("caIssuer")];
  if (file === undefined)
    return issuer === undefined
      ? ok(undefined)
      : usage("which request made the issuer's CA?", "--ca-csr ca.csr");
  const text = await readInput(file, terminal);
  if (!text.ok) return text;
  const csr = parseCsr(text.value.trim());
  if (!csr.ok) return fail(csr.error.name, `${file}: ${csr.error.detail}`);
  return ok({ csrPem: text.value, ...(issuer === undefined ? {} : { issuer }) });
}
