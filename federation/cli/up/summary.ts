import { API_VERSION } from "../../model/resource.ts";
import type { Paint } from "../output/paint.ts";
import { renderTable } from "../output/table.ts";
import type { Federation } from "./launch.ts";

/** The one line of `isthmus up -o json`. */
export function readyDocument(federation: Federation) {
  const { registryUrl, adminTokenFile } = federation.plan;
  return {
    apiVersion: API_VERSION,
    kind: "LocalFederationReady",
    registry: registryUrl,
    adminTokenFile,
    processes: federation.processes.map(({ spec: { role, cluster }, pid }) => ({
      role,
      ...(cluster === undefined ? {} : { cluster }),
      pid,
    })),
    imports: federation.imports,
  };
}

export function renderSummary(federation: Federation, startedInMs: number, paint: Paint): string {
  const { name, registryUrl } = federation.plan;
  const processes = renderTable(
    ["PROCESS", "PID", "LISTENS"],
    federation.processes.map(({ spec, pid }) => [spec.name, String(pid), spec.env["ISTHMUS_LISTEN"] ?? ""]),
  );
  const imports = renderTable(
    ["CLUSTER", "WORKLOAD", "SERVICE", "ADDRESS"],
    federation.imports.map(({ cluster, workload, service, port, address }) => [
      cluster,
      workload,
      `${service}:${port}`,
      address,
    ]),
  );
  return [
    `${paint("bold", name)} is up: registry ${registryUrl}, ready in ${(startedInMs / 1000).toFixed(2)} s`,
    "",
    processes,
    ...(federation.imports.length === 0 ? [] : ["", imports]),
  ].join("\n");
}

/** Commands for a second terminal, ready to paste. */
export function nextCommands(federation: Federation, program: string): readonly string[] {
  const context = `export ISTHMUS_CONFIG=${federation.plan.configFile}`;
  const first = federation.imports[0];
  return [
    `${context}   (in a second terminal)`,
    `${program} check`,
    `${program} service list`,
    ...(first === undefined
      ? []
      : [`curl -i http://${first.address}/   (as ${first.workload} of ${first.cluster})`]),
  ];
}
