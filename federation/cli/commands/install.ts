import { parseAddress } from "../../model/address.ts";
import { ok, type Result } from "../../model/result.ts";
import { EXIT } from "../exit.ts";
import { type Failure, fail } from "../failure.ts";
import { readInput } from "../input/read-input.ts";
import { installManifest, uninstallManifest } from "../install/manifest.ts";
import { type Command, hint, type Invocation, usage } from "../invocation.ts";

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
  const imagePrefix = flags.text("imagePrefix");
  const imageTag = flags.text("imageTag");
  terminal.out(
    installManifest({
      registry: registry.replace(/\/+$/, ""),
      advertise,
      ...(token.value === undefined ? {} : { joinToken: token.value }),
      ...(imagePrefix === undefined ? {} : { imagePrefix }),
      ...(imageTag === undefined ? {} : { imageTag }),
    }).trimEnd(),
  );
  hint(
    invocation,
    "undo",
    `${terminal.program} uninstall --manifest | kubectl delete --ignore-not-found -f -`,
  );
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
