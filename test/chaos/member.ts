import type { RegistryClient } from "../../federation/cli/registry-client.ts";
import type { Snapshot } from "../../federation/model/snapshot.ts";
import { systemSpiffeId, type TrustDomain } from "../../federation/model/spiffe-id.ts";
import { joinResponse } from "../../federation/model/wire/api.ts";
import { decode } from "../../federation/model/wire/decode.ts";
import { decodeSnapshot } from "../../federation/model/wire/snapshot.ts";
import {
  createClusterKey,
  createCsr,
  type Credential,
  issueSvid,
  loadClusterCa,
  privateKeyToPem,
  signMemberRequest,
  verifySnapshot,
} from "../../federation/trust/index.ts";
import { unwrap } from "../fakes/pki.ts";

/** A member that does nothing of its own. */
export interface Member {
  readonly cluster: string;
  credential(): Credential;
  /** Signed, to any instance. */
  request(
    url: string,
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Response>;
  reportServices(names: readonly string[]): Promise<void>;
  readonly client: RegistryClient;
  readonly snapshotKeys: readonly object[];
}

export async function joinAs(client: RegistryClient, cluster: string): Promise<Member> {
  const { token = "" } = unwrap(await client.register(cluster));
  const privateKey = createClusterKey();
  const trustDomain = `${cluster}.demo.mesh` as TrustDomain;
  const reply = await fetch(`${client.url}/v1/join`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token, csr: createCsr({ privateKey, trustDomain }) }),
  });
  const answer = unwrap(decode(joinResponse, await reply.json()));
  const ca = unwrap(
    loadClusterCa({ certificatePem: answer.caCertificate, privateKeyPem: privateKeyToPem(privateKey) }),
  );
  const credential = (): Credential =>
    issueSvid({ ca, spiffeId: systemSpiffeId(trustDomain, "gateway"), now: Date.now() });
  const member: Member = {
    cluster,
    client,
    credential,
    snapshotKeys: answer.snapshotKeys.keys,
    request(url, method, path, body, headers = {}) {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const target = `${url}${path}`;
      const authorization = signMemberRequest({
        credential: credential(),
        method,
        url: target,
        body: text,
        now: Date.now(),
      });
      const type = text === undefined ? {} : { "content-type": "application/json" };
      return fetch(target, {
        method,
        headers: { authorization, ...type, ...headers },
        ...(text === undefined ? {} : { body: text }),
      });
    },
    async reportServices(names) {
      const services = names.map((name) => ({
        namespace: "shop",
        name,
        ports: [{ port: 80, protocol: "http" }],
      }));
      const reported = await member.request(client.url, "PUT", `/v1/clusters/${cluster}/services`, {
        services,
      });
      if (!reported.ok) throw new Error(await reported.text());
    },
  };
  return member;
}

export async function snapshotOf(member: Member, url = member.client.url): Promise<Snapshot> {
  const reply = await member.request(url, "GET", `/v1/clusters/${member.cluster}/snapshot`);
  const payload = unwrap(await verifySnapshot(await reply.text(), { keys: member.snapshotKeys as never }));
  return unwrap(decodeSnapshot(payload));
}
