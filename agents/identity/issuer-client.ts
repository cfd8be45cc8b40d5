import { request as httpRequest } from "node:http";
import tls, { type TLSSocket } from "node:tls";
import { parseAddress } from "../../federation/model/address.ts";
import { type Problem, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import type { TrustDomain } from "../../federation/model/spiffe-id.ts";
import { peerChain, type PeerTrust, verifyPeer } from "../../gateway/dataplane/index.ts";
import type { IdentityIssuer } from "../../gateway/discovery/index.ts";
import { decodeRefusal, ISSUE_PATH, issueResponse } from "./issuer-wire.ts";

export interface IssuerClientOptions {
  readonly trustDomain: TrustDomain;
  /** Whom the issuer's certificate must chain to: the cluster's own bundle. */
  readonly trust: () => PeerTrust;
  /** Where issuers answer now, `host:port`. */
  readonly addresses: () => Promise<Result<readonly string[], Problem>>;
  /** The process's own projected token, read anew each time: it is replaced while we run. */
  readonly token: () => Result<string, Problem>;
  readonly now: () => number;
  readonly random: () => number;
}

const CONNECT_TIMEOUT_MS = 5_000;
// An external CA may take its time.
const ANSWER_TIMEOUT_MS = 15_000;
const MAX_ANSWER_BYTES = 128 * 1024;

/** Asks one of the cluster's issuers, and the others when it cannot be reached; a refusal is an answer. */
export function createIssuerClient(options: IssuerClientOptions): IdentityIssuer {
  return {
    async issue({ csrPem }) {
      const token = options.token();
      if (!token.ok) return token;
      const found = await options.addresses();
      if (!found.ok) return found;
      const addresses = shuffled(found.value, options.random);
      let last: Problem = problem("issuer_unreachable", "the Service isthmus-issuer has no endpoints");
      for (const address of addresses) {
        const answer = await askOne(address, options, token.value, csrPem);
        if (answer.ok || answer.error.name !== "issuer_unreachable") return answer;
        last = answer.error;
      }
      return err(last);
    },
  };
}

async function askOne(
  address: string,
  options: IssuerClientOptions,
  token: string,
  csr: string,
): Promise<Result<string, Problem>> {
  const connected = await connectVerified(address, options);
  if (!connected.ok) return connected;
  const socket = connected.value;
  try {
    const { status, text } = await post(socket, token, JSON.stringify({ csr }));
    const body: unknown = JSON.parse(text);
    if (status !== 200) return err(decodeRefusal(status, body));
    const decoded = issueResponse.safeParse(body);
    return decoded.success
      ? ok(decoded.data.chain)
      : err(problem("issuer_unreachable", `${address} answered something else than a chain`));
  } catch (error) {
    return err(problem("issuer_unreachable", `${address}: ${(error as Error).message}`));
  } finally {
    socket.destroy();
  }
}

/** The token is shown only to a gateway of our own cluster: it is verified before anything is written. */
function connectVerified(
  address: string,
  { trust, trustDomain, now }: IssuerClientOptions,
): Promise<Result<TLSSocket, Problem>> {
  return new Promise((resolve) => {
    const parsed = parseAddress(address);
    if (!parsed.ok) return resolve(err(problem("issuer_unreachable", parsed.error)));
    const trusted = trust();
    const socket = tls.connect({
      ...parsed.value,
      servername: trustDomain,
      ca: [...trusted.authoritiesPem],
      minVersion: "TLSv1.3",
      // verifyPeer decides, below: OpenSSL knows nothing of trust domains.
      rejectUnauthorized: false,
    });
    const fail = (reason: Problem): void => {
      socket.destroy();
      resolve(err(reason));
    };
    const timer = setTimeout(
      () => fail(problem("issuer_unreachable", `${address}: no handshake in ${CONNECT_TIMEOUT_MS} ms`)),
      CONNECT_TIMEOUT_MS,
    );
    socket.on("error", (error: Error) => fail(problem("issuer_unreachable", `${address}: ${error.message}`)));
    socket.once("close", () => clearTimeout(timer));
    socket.once("secureConnect", () => {
      clearTimeout(timer);
      const peer = verifyPeer(peerChain(socket), trusted, now(), { trustDomain, role: "gateway" });
      if (peer.ok) resolve(ok(socket));
      else fail(peer.error);
    });
  });
}

function post(
  socket: TLSSocket,
  token: string,
  body: string,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const asked = httpRequest({
      createConnection: () => socket,
      method: "POST",
      path: ISSUE_PATH,
      headers: {
        host: "isthmus-issuer",
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
      },
    });
    const timer = setTimeout(
      () => asked.destroy(new Error(`no answer in ${ANSWER_TIMEOUT_MS} ms`)),
      ANSWER_TIMEOUT_MS,
    );
    asked.once("close", () => clearTimeout(timer));
    asked.once("error", reject);
    asked.once("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
        if (text.length > MAX_ANSWER_BYTES) asked.destroy(new Error("the answer is too large"));
      });
      response.once("error", reject);
      response.once("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    asked.end(body);
  });
}

function shuffled(addresses: readonly string[], random: () => number): readonly string[] {
  const order = [...addresses];
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other] as string, order[last] as string];
  }
  return order;
}
