import type { ServiceName } from "../../federation/model/service.ts";
import { createWatch, type PodEntry } from "../../gateway/dataplane/index.ts";
import type { CapturedPort } from "../capture/rules.ts";
import type { MeshEndpoint, MeshServices } from "../proxy/mesh.ts";
import { agentAddresses } from "./agent-addresses.ts";
import { sliceEndpoints } from "./digest/endpoint-slice.ts";
import type { KubeNamespace } from "./digest/mcs.ts";
import type { KubePod } from "./digest/pod.ts";
import type { KubeService } from "./digest/service.ts";
import { ANNOTATION } from "./labels.ts";
import { EntryPorts, MESH_PORTS } from "./mcs/ports.ts";
import type { SliceIndex } from "./slice-index.ts";

export interface MeshFacts {
  readonly services: ReadonlyMap<string, KubeService>;
  readonly namespaces: ReadonlyMap<string, KubeNamespace>;
  /** Of this node. */
  readonly pods: ReadonlyMap<string, KubePod>;
  readonly slices: SliceIndex;
  readonly node: string | undefined;
}

/** Which of a cluster's own services are called under mutual TLS: those of namespaces that say `permissive` or `strict`. */
export class MeshView implements MeshServices {
  readonly ports = createWatch<readonly PodEntry[]>([]);
  /** Addresses of this node's pods that take no plain connection from outside their node's agent. */
  readonly guarded = createWatch<readonly string[]>([]);
  readonly #facts: MeshFacts;
  readonly #listens = new EntryPorts(MESH_PORTS);
  #agents: ReadonlyMap<string, string> | undefined;

  constructor(facts: MeshFacts) {
    this.#facts = facts;
  }

  get node(): string | undefined {
    return this.#facts.node;
  }

  isStrict({ namespace }: Pick<ServiceName, "namespace">): boolean {
    return this.#mode(namespace) === "strict";
  }

  endpoints({ namespace, name }: ServiceName, port: number): readonly MeshEndpoint[] {
    const { services, slices, node } = this.#facts;
    const key = `${namespace}/${name}`;
    const portName = services.get(key)?.ports.find((each) => each.port === port)?.name ?? "";
    const found: MeshEndpoint[] = [];
    for (const { address, node: of } of slices.of(key).flatMap((slice) => sliceEndpoints(slice, portName))) {
      const agent = of === undefined ? undefined : this.#agentsByNode().get(of);
      found.push({
        address,
        local: of !== undefined && of === node,
        ...(agent === undefined ? {} : { agent }),
      });
    }
    return found;
  }

  /** Something that it rests on has changed. Answers what to capture for it. */
  refresh(): readonly CapturedPort[] {
    this.#agents = undefined;
    const entries: PodEntry[] = [];
    const captured: CapturedPort[] = [];
    for (const [key, { namespace, name, derivedFor, clusterIps, ports }] of this.#facts.services) {
      if (derivedFor !== undefined || this.#mode(namespace) === undefined) continue;
      for (const { port, protocol } of clusterIps.length === 0 ? [] : ports) {
        if (protocol !== "TCP") continue;
        const listen = this.#listens.of(`${key}:${port}`);
        entries.push({ service: { namespace, name }, port, listen });
        for (const address of clusterIps)
          captured.push({ address, port, listen, strict: this.isStrict({ namespace }) });
      }
    }
    entries.sort((a, b) => a.listen - b.listen);
    const guarded = [...this.#facts.pods.values()]
      .filter((pod) => this.isStrict(pod))
      .flatMap(({ addresses }) => addresses)
      .sort();
    if (JSON.stringify(entries) !== JSON.stringify(this.ports.current)) this.ports.publish(entries);
    if (guarded.join() !== this.guarded.current.join()) this.guarded.publish(guarded);
    return captured;
  }

  #mode(namespace: string): "permissive" | "strict" | undefined {
    const mode = this.#facts.namespaces.get(namespace)?.settings[ANNOTATION.mtls];
    return mode === "permissive" || mode === "strict" ? mode : undefined;
  }

  #agentsByNode(): ReadonlyMap<string, string> {
    this.#agents ??= new Map(
      agentAddresses(this.#facts.slices).flatMap(({ address, node }) =>
        node === undefined ? [] : [[node, address] as const],
      ),
    );
    return this.#agents;
  }
}
