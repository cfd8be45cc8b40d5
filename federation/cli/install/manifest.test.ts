import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { installManifest, uninstallManifest } from "./manifest.ts";

interface Named {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

const namesIn = (yaml: string): readonly string[] =>
  parseAllDocuments(yaml)
    .map((document) => document.toJS() as Named)
    .map(({ kind, metadata: { namespace = "", name } }) => `${kind} ${namespace}/${name}`);

const objectsIn = (yaml: string): Map<string, string> =>
  new Map(
    parseAllDocuments(yaml).map((document) => {
      const object = document.toJS() as Named;
      const { namespace = "", name } = object.metadata;
      return [`${object.kind} ${namespace}/${name}`, JSON.stringify(object)];
    }),
  );

const OVERLAY = fileURLToPath(new URL("../../../infra/kubernetes/overlays/agents", import.meta.url));
const hasKubectl = spawnSync("kubectl", ["version", "--client"]).status === 0;

const registry = "https://registry.example.com";
const advertise = "gateway.example.com:15008";
const withAgents = installManifest({ registry, advertise, joinToken: "token", agents: true });
const installed = namesIn(withAgents);
const uninstalled = namesIn(uninstallManifest(true));
const JOIN_TOKEN = "Secret isthmus-system/isthmus-join";
/** What no overlay has; it goes with its namespace. */
const OF_INSTALL = ["ConfigMap isthmus-system/isthmus-install", JOIN_TOKEN];

test("what is uninstalled is all that was installed, agents too, but for the kinds that others may use", () => {
  const all = installed.filter((name) => !OF_INSTALL.includes(name));
  expect(uninstalled.toSorted()).toEqual(all.toSorted());
  const without = namesIn(uninstallManifest(false));
  const kept = all.filter((name) => !without.includes(name));
  expect(kept).toEqual([
    "CustomResourceDefinition /serviceexports.multicluster.x-k8s.io",
    "CustomResourceDefinition /serviceimports.multicluster.x-k8s.io",
  ]);
});

test("a namespace goes after what is in it, and a kind after who works with its objects", () => {
  const space = uninstalled.findIndex((name) => name.startsWith("Namespace"));
  expect(space).toBeGreaterThan(
    uninstalled.findLastIndex((name) => / isthmus-(?:system|egress)\//.test(name)),
  );
  expect(uninstalled.findIndex((name) => name.startsWith("CustomResourceDefinition"))).toBeGreaterThan(
    uninstalled.findLastIndex((name) => /^(?:Deployment|DaemonSet)/.test(name)),
  );
});

test("agents come when they are asked for, in a namespace that admits them, with images of the same place", () => {
  const without = installManifest({ registry, advertise, joinToken: "token", imageTag: "2.0.0" });
  const names = namesIn(without);
  expect(installed.filter((name) => !names.includes(name))).toEqual([
    "ServiceAccount isthmus-system/agent",
    "ClusterRole /isthmus-agent",
    "ClusterRoleBinding /isthmus-agent",
    "Role isthmus-system/isthmus-agent",
    "RoleBinding isthmus-system/isthmus-agent",
    "DaemonSet isthmus-system/isthmus-agent",
    "Service isthmus-system/isthmus-agent",
  ]);
  const levels = (yaml: string) => [...yaml.matchAll(/enforce: (\w+)/g)].map(([, level]) => level);
  expect(levels(without)).toEqual(["restricted", "restricted"]);
  expect(levels(withAgents)).toEqual(["privileged", "restricted"]);
  const other = installManifest({ registry, advertise, imagePrefix: "example.com/mesh", agents: true });
  expect([...other.matchAll(/image: (.*):/g)].map(([, image]) => image)).toEqual(
    ["controller", "gateway", "agent"].map((role) => `example.com/mesh/${role}`),
  );
});

test("what is said to an installation stands in no object that an overlay writes too", () => {
  const settings = { registry, advertise, joinToken: "token", agents: true };
  const other = { registry: "https://other", advertise: "other:1", joinToken: "other", agents: true };
  const [one, two] = [settings, other].map((each) => objectsIn(installManifest(each)));
  const differing = [...(one ?? [])].filter(([name, text]) => two?.get(name) !== text).map(([name]) => name);
  expect(differing).toEqual(OF_INSTALL);
  for (const text of one?.values() ?? []) {
    if (!text.includes("envFrom")) continue;
    expect(text).toContain(
      '"envFrom":[{"configMapRef":{"name":"isthmus"}},{"configMapRef":{"name":"isthmus-install","optional":true}}]',
    );
  }
});

test.skipIf(!hasKubectl)(
  "an overlay with agents and an installation with agents have the same objects",
  () => {
    const made = spawnSync("kubectl", ["kustomize", OVERLAY], { encoding: "utf8" });
    const [overlay, own] = [made.stdout, withAgents].map(objectsIn);
    for (const name of OF_INSTALL) own?.delete(name);
    expect([...(own?.keys() ?? [])].sort()).toEqual([...(overlay?.keys() ?? [])].sort());
    for (const [name, text] of own ?? [])
      expect(JSON.parse(text), name).toEqual(JSON.parse(overlay?.get(name) ?? ""));
  },
);

test("the join token is a Secret that is applied after its namespace", () => {
  expect(installed.indexOf(JOIN_TOKEN)).toBeGreaterThan(installed.indexOf("Namespace /isthmus-system"));
});
