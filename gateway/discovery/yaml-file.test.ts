import { describe, expect, it } from "vitest";
import { decodeStaticCluster } from "../../federation/model/wire/static-cluster.ts";
import { decodeYaml } from "./yaml-file.ts";

function issues(text: string): string[] {
  const decoded = decodeYaml(text, decodeStaticCluster);
  return decoded.ok ? [] : decoded.error.map(({ line, path }) => `${line} ${path}`);
}

const GOOD = `apiVersion: isthmus.dev/v1alpha1
kind: StaticCluster
metadata: { name: east }
spec:
  workloads:
    - namespace: shop
      name: cart
      services:
        - { name: cart, port: 80, protocol: http, endpoints: ["127.0.0.1:9003"] }
    - { namespace: shop, name: web }
`;

describe("decodeYaml", () => {
  it("fills in the defaults", () => {
    const decoded = decodeYaml(GOOD, decodeStaticCluster);
    expect(decoded).toMatchObject({ ok: true, value: { spec: { gateways: [], agents: [] } } });
    expect(decoded.ok && decoded.value.spec.workloads.map((workload) => workload.serviceAccount)).toEqual([
      "cart",
      "web",
    ]);
  });

  it("names the line of every mistake", () => {
    const text = GOOD.replace("port: 80", "port: 99999")
      .replace("name: east", "nmae: east")
      .replace("      name: cart\n", "      name: Cart!\n");
    expect(issues(text)).toEqual([
      "3 metadata.name",
      "3 metadata.nmae",
      "7 spec.workloads[0].name",
      "9 spec.workloads[0].services[0].port",
    ]);
  });

  it("names the line of what the missing field should stand in", () => {
    expect(issues(GOOD.replace("    - { namespace: shop, name: web }", "    - { namespace: shop }"))).toEqual(
      ["10 spec.workloads[1].name"],
    );
  });

  it.each([
    ["a mistake of syntax", `${GOOD}  gateways: [`, 11],
    ["a field that occurs twice", `${GOOD}kind: StaticCluster\n`, 11],
    ["a second document", `${GOOD}---\na: 1\n`, 11],
  ])("names the line of %s", (_, text, line) => {
    const decoded = decodeYaml(text, decodeStaticCluster);
    expect(decoded.ok ? [] : decoded.error.map((issue) => issue.line)).toContain(line);
  });

  it.each(["", "just text", "- a\n- b\n", "null"])("refuses %j without falling over", (text) => {
    expect(issues(text).length).toBeGreaterThan(0);
  });

  it("refuses aliases that multiply", () => {
    const level = (name: string, of: string) =>
      `${name}: &${name} [${Array(10).fill(`*${of}`).join(", ")}]\n`;
    const bomb = `a: &a [x]\n${level("b", "a")}${level("c", "b")}${level("d", "c")}${level("e", "d")}`;
    const decoded = decodeYaml(bomb, decodeStaticCluster);
    expect(decoded.ok ? "" : decoded.error[0]?.message).toMatch(/alias/i);
  });
});
