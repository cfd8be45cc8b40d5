import { describe, expect, it } from "vitest";
import { decodeAppliedResource } from "./resource.ts";

const document = (spec: object) => ({
  apiVersion: "isthmus.dev/v1alpha1",
  kind: "TrafficRoute",
  metadata: { cluster: "west", namespace: "shop", name: "canary" },
  spec: { parentRefs: [{ name: "cart" }], ...spec },
});

function paths(spec: object): readonly string[] {
  const decoded = decodeAppliedResource(document(spec));
  return decoded.ok ? [] : decoded.error.map(({ path }) => path);
}

const modifier = (name: string) => ({
  rules: [
    { filters: [{ type: "RequestHeaderModifier", requestHeaderModifier: { set: [{ name, value: "x" }] } }] },
  ],
});

describe("a TrafficRoute", () => {
  it("that is good is taken", () => {
    expect(paths({ rules: [{}] })).toEqual([]);
    expect(paths({ rules: [{ matches: [{ method: { service: "a.B" } }, { method: "GET" }] }] })).toEqual([]);
  });

  it.each([
    ["no rules", { rules: [] }, ["spec.rules"]],
    ["no parent", { parentRefs: [], rules: [{}] }, ["spec.parentRefs"]],
    ["a typing mistake", { rules: [{ matchs: [] }] }, ["spec.rules[0].matchs"]],
    [
      "a path that no request has",
      { rules: [{ matches: [{ path: { value: "/a/../b" } }] }] },
      ["spec.rules[0].matches[0].path.value"],
    ],
    [
      "a relative path",
      { rules: [{ matches: [{ path: { type: "Exact", value: "a" } }] }] },
      ["spec.rules[0].matches[0].path.value"],
    ],
    [
      "a broken regular expression",
      { rules: [{ matches: [{ path: { type: "RegularExpression", value: "/(a" } }] }] },
      ["spec.rules[0].matches[0].path.value"],
    ],
    [
      "look-around",
      { rules: [{ matches: [{ path: { type: "RegularExpression", value: "/(?!a)" } }] }] },
      ["spec.rules[0].matches[0].path.value"],
    ],
    [
      "a back reference",
      { rules: [{ matches: [{ headers: [{ name: "h", type: "RegularExpression", value: "(a)\\1" }] }] }] },
      ["spec.rules[0].matches[0].headers[0].value"],
    ],
    [
      "a regular expression that is too large",
      { rules: [{ matches: [{ path: { type: "RegularExpression", value: "/(a{500}){3}" } }] }] },
      ["spec.rules[0].matches[0].path.value"],
    ],
    ["an empty gRPC method", { rules: [{ matches: [{ method: {} }] }] }, ["spec.rules[0].matches[0].method"]],
    [
      "a redirect with backends",
      {
        rules: [
          { filters: [{ type: "RequestRedirect", requestRedirect: {} }], backendRefs: [{ name: "cart" }] },
        ],
      },
      ["spec.rules[0].backendRefs"],
    ],
    [
      "two filters of one type",
      {
        rules: [
          {
            filters: [
              { type: "URLRewrite", urlRewrite: {} },
              { type: "URLRewrite", urlRewrite: {} },
            ],
          },
        ],
      },
      ["spec.rules[0].filters[1]"],
    ],
    [
      "a prefix replaced that is not matched",
      {
        rules: [
          {
            matches: [{ path: { type: "Exact", value: "/a" } }],
            filters: [
              {
                type: "URLRewrite",
                urlRewrite: { path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/b" } },
              },
            ],
          },
        ],
      },
      ["spec.rules[0].filters[0]"],
    ],
    [
      "percent and fraction",
      { rules: [{ fault: { abort: { percent: 1, fraction: { numerator: 1 } } } }] },
      ["spec.rules[0].fault.abort.fraction"],
    ],
    [
      "a backend timeout beyond the request's",
      { rules: [{ timeouts: { request: "1s", backendRequest: "2s" } }] },
      ["spec.rules[0].timeouts.backendRequest"],
    ],
    [
      "a delay beyond a minute",
      { rules: [{ fault: { delay: { fixedDelay: "61s" } } }] },
      ["spec.rules[0].fault.delay.fixedDelay"],
    ],
    [
      "a negative weight",
      { rules: [{ backendRefs: [{ name: "cart", weight: -1 }] }] },
      ["spec.rules[0].backendRefs[0].weight"],
    ],
    [
      "a value that would split the head",
      {
        rules: [
          {
            filters: [
              {
                type: "ResponseHeaderModifier",
                responseHeaderModifier: { add: [{ name: "x", value: "a\r\nb" }] },
              },
            ],
          },
        ],
      },
      ["spec.rules[0].filters[0].responseHeaderModifier.add[0].value"],
    ],
    [
      "a rewritten host that would split the head",
      { rules: [{ filters: [{ type: "URLRewrite", urlRewrite: { hostname: "a\r\nb" } }] }] },
      ["spec.rules[0].filters[0].urlRewrite.hostname"],
    ],
    [
      "a rewritten path that would split the head",
      {
        rules: [
          {
            filters: [
              {
                type: "URLRewrite",
                urlRewrite: { path: { type: "ReplaceFullPath", replaceFullPath: "/a HTTP/1.1\r\n" } },
              },
            ],
          },
        ],
      },
      ["spec.rules[0].filters[0].urlRewrite.path.replaceFullPath"],
    ],
  ])("with %s is refused, with the path of the field", (_what, spec, expected) => {
    expect(paths(spec)).toEqual(expected);
  });

  it.each([
    "Host",
    "content-length",
    "Transfer-Encoding",
    "transfer_encoding",
    "connection",
    "Isthmus-Caller",
    "isthmus_caller",
    "x-forwarded-client-cert",
    "te",
    "trailer",
    "via",
  ])("touches no %s", (name) => {
    expect(paths(modifier(name))).toEqual(["spec.rules[0].filters[0].requestHeaderModifier.set[0].name"]);
  });

  it.each([
    ["PathPrefix", "/bücher", "/b%C3%BCcher"],
    ["Exact", "/東京/a", "/%E6%9D%B1%E4%BA%AC/a"],
    ["RegularExpression", "/bücher/[0-9]+", "/b%C3%BCcher/[0-9]+"],
  ])("with a path beyond ASCII, %s, is told how to write it", (type, value, encoded) => {
    const decoded = decodeAppliedResource(document({ rules: [{ matches: [{ path: { type, value } }] }] }));
    const message = `paths are percent-encoded in requests: write "${encoded}"`;
    expect(decoded).toEqual({
      ok: false,
      error: [{ path: "spec.rules[0].matches[0].path.value", message }],
    });
    expect(paths({ rules: [{ matches: [{ path: { type, value: encoded } }] }] })).toEqual([]);
  });

  it("with several mistakes is told all of them at once", () => {
    const spec = { mode: "watch", rules: [{ retry: { attempts: 99 } }, { timeouts: { request: "soon" } }] };
    expect(paths(spec)).toEqual([
      "spec.mode",
      "spec.rules[0].retry.attempts",
      "spec.rules[1].timeouts.request",
    ]);
  });
});
