import { describe, expect, it } from "vitest";
import { PLAIN } from "../output/paint.ts";
import { findWitness } from "./far-side.ts";
import { readDemoFile } from "./federation.ts";
import { renderClaims, renderPermitted, renderRefused } from "./render.ts";
import { claimsOf, type Transcript } from "./transcript.ts";
import { CART_ANSWER } from "./workloads.ts";

const WEB = "spiffe://west.demo.mesh/ns/shop/sa/web";
const GATEWAY = "spiffe://west.demo.mesh/ns/isthmus-system/sa/gateway";
const from = {
  cluster: "west",
  workload: "ns/shop/sa/web",
  service: "cart.shop",
  port: 80,
  address: "127.0.0.1:1",
};

const TRANSCRIPT: Transcript = {
  federation: "demo.mesh",
  readyMs: 1500,
  processes: [],
  permitted: {
    from,
    answer: { status: 200, body: CART_ANSWER, latencyMs: 4.21 },
    repeated: { calls: 200, medianMs: 0.94, p99Ms: 12.3 },
    witnesses: [{ process: "east-agent-1", caller: WEB, peer: GATEWAY }],
    caller: WEB,
  },
  refused: {
    from: { ...from, workload: "ns/shop/sa/batch", address: "127.0.0.1:2" },
    answer: { status: 403, body: "{}", code: "ISTH-2001", detail: "batch is not permitted", latencyMs: 1 },
  },
  clusters: [],
};

describe("the demo", () => {
  it("starts a file that up would start", () => {
    const read = readDemoFile("127.0.0.1:9003");
    expect(read.ok && read.value.resources.map(({ kind }) => kind)).toEqual([
      "ServiceExport",
      "ServiceImport",
    ]);
  });

  it("shows the call that works, with who the far side saw", () => {
    expect(renderPermitted(TRANSCRIPT.permitted, PLAIN)).toBe(
      [
        "A call that the owner permits: web in west calls cart in east",
        "  curl http://127.0.0.1:1/",
        `  ✓ 200 ${CART_ANSWER}`,
        "  4.2 ms for the first call; then 200 calls: median 0.9 ms, p99 12 ms",
        `  east-agent-1 logged the caller ${WEB} (its TLS peer: ${GATEWAY})`,
      ].join("\n"),
    );
  });

  it("shows the call that is refused, why, and what to do", () => {
    expect(renderRefused(TRANSCRIPT.refused, PLAIN)).toBe(
      [
        "A call that the owner did not permit: batch in west calls cart in east",
        "  curl http://127.0.0.1:2/",
        "  × 403 ISTH-2001 batch is not permitted",
        "  why: the owner of the service does not permit this caller",
        "  fix: ask the owner to add the workload to the export's consumers",
      ].join("\n"),
    );
  });

  it("keeps its promises only if all of them are seen", () => {
    expect(claimsOf(TRANSCRIPT).map(({ kept }) => kept)).toEqual([true, true, true]);
    const { permitted, refused } = TRANSCRIPT;
    const broken: Transcript = {
      ...TRANSCRIPT,
      permitted: { ...permitted, answer: { status: 503, body: "", latencyMs: 1 }, witnesses: [] },
      refused: { ...refused, answer: { status: 200, body: CART_ANSWER, latencyMs: 1 } },
    };
    expect(claimsOf(broken).map(({ kept }) => kept)).toEqual([false, false, false]);
    expect(renderClaims(broken, PLAIN)).toContain("× the other workload gets 403 ISTH-2001: 200 ");
  });
});

describe("what the far side logged", () => {
  const line = (fields: object): string =>
    JSON.stringify({ level: "info", event: "tunnel_opened", ...fields });

  it("is found by the caller, whoever the TLS peer was", () => {
    const log = [
      line({ caller: "spiffe://west.demo.mesh/ns/shop/sa/other", peer: WEB }),
      line({ caller: WEB, peer: GATEWAY }),
    ];
    expect(findWitness("east-agent-1", log.join("\n"), WEB)).toEqual({
      process: "east-agent-1",
      caller: WEB,
      peer: GATEWAY,
    });
  });

  it("is not taken from lines that are cut off or of another event", () => {
    const log = [
      line({ caller: WEB }).slice(0, -5),
      JSON.stringify({ event: "tunnel_refused", caller: WEB }),
    ];
    expect(findWitness("east-agent-1", log.join("\n"), WEB)).toBeUndefined();
  });
});
