import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { installManifest } from "./manifest.ts";

const OVERLAY = fileURLToPath(new URL("../../../infra/kubernetes/overlays/external-ca", import.meta.url));
const SETTINGS = { registry: "https://registry.example.com", advertise: "gateway.example.com:15008" };
const hasKubectl = spawnSync("kubectl", ["version", "--client"]).status === 0;

interface Document {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

const objectsOf = (text: string): ReadonlyMap<string, Document> =>
  new Map(
    parseAllDocuments(text).map((each) => {
      const document = each.toJS() as Document;
      const { namespace = "", name } = document.metadata;
      return [`${document.kind} ${namespace}/${name}`, document];
    }),
  );

test("without an external CA nothing of it is installed", () => {
  const text = installManifest(SETTINGS);
  expect(text).not.toContain("certificaterequests");
  expect(text).not.toContain("isthmus-ca");
});

test("the request and the issuer of an external CA are installed where gateways look for them", () => {
  const text = installManifest({ ...SETTINGS, ca: { csrPem: "CSR", issuer: "StepIssuer.step.sm/west" } });
  const objects = objectsOf(text);
  expect(objects.get("ConfigMap isthmus-system/isthmus-ca")).toMatchObject({ data: { "ca.csr": "CSR" } });
  expect(JSON.stringify(objects.get("Deployment isthmus-system/isthmus-gateway"))).toContain(
    '{"name":"ISTHMUS_CA_ISSUER","value":"StepIssuer.step.sm/west"}',
  );
});

test.skipIf(!hasKubectl)(
  "an external CA is installed as kubectl kustomize would, but for its request and what it is told",
  () => {
    const made = spawnSync("kubectl", ["kustomize", OVERLAY], { encoding: "utf8" });
    const overlay = objectsOf(made.stdout);
    const own = new Map(objectsOf(installManifest({ ...SETTINGS, ca: { csrPem: "CSR" } })));
    for (const name of ["isthmus-ca", "isthmus-install"]) own.delete(`ConfigMap isthmus-system/${name}`);
    expect([...own.keys()].sort()).toEqual([...overlay.keys()].sort());
    for (const [name, object] of own) expect(object, name).toEqual(overlay.get(name));
  },
);
