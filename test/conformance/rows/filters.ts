import { expect } from "vitest";
import type {
  BackendFilter,
  PathModifier,
  RequestRedirect,
  RouteMatch,
} from "../../../federation/model/traffic-route.ts";
import { trafficRoute, type TrafficWorld } from "../../fakes/traffic-world.ts";
import { until } from "../../fakes/until.ts";
import { type Row, row, V1, V2 } from "./row.ts";

const HEADERS = {
  set: [{ name: "X-Set", value: "set" }],
  add: [{ name: "x-add", value: "added" }],
  remove: ["X-Remove"],
};
const SENT = { "x-set": "client", "x-add": "client", "x-remove": "client", "x-kept": "client" };

/** Rule filters and backend filters are the same fields in two places. */
function inBoth(filter: BackendFilter, matches?: readonly RouteMatch[]) {
  const match = matches === undefined ? {} : { matches };
  return [
    trafficRoute([{ ...match, filters: [filter], backendRefs: [V1] }]),
    trafficRoute([{ ...match, backendRefs: [{ ...V1, filters: [filter] }] }]),
  ];
}

function both(...fields: readonly string[]): string {
  return fields
    .flatMap((field) => [`rules[].filters[].${field}`, `rules[].backendRefs[].filters[].${field}`])
    .join(" ");
}

const UNDER_ONE: readonly RouteMatch[] = [{ path: { value: "/one" } }];

function rewritten(world: TrafficWorld, path: PathModifier) {
  return async (asked: string): Promise<readonly string[]> => {
    const urls: string[] = [];
    for (const route of inBoth({ type: "URLRewrite", urlRewrite: { path } }, UNDER_ONE)) {
      world.route(route);
      urls.push((await world.ask(asked)).echo.url);
    }
    return [...new Set(urls)];
  };
}

async function location(
  world: TrafficWorld,
  redirect: RequestRedirect,
  path = "/one/two?x=1",
): Promise<string> {
  world.route(
    trafficRoute([{ matches: UNDER_ONE, filters: [{ type: "RequestRedirect", requestRedirect: redirect }] }]),
  );
  const { status, headers } = await world.ask(path);
  return `${status} ${String(headers["location"])}`;
}

export const FILTER_ROWS: readonly Row[] = [
  row(
    both(
      "type",
      "requestHeaderModifier.set[].name",
      "requestHeaderModifier.set[].value",
      "requestHeaderModifier.add[].name",
      "requestHeaderModifier.add[].value",
      "requestHeaderModifier.remove[]",
    ),
    "MeshHTTPRouteRequestHeaderModifier, MeshHTTPRouteBackendRequestHeaderModifier: fields are set, added and removed on the way there",
    async (world) => {
      for (const route of inBoth({ type: "RequestHeaderModifier", requestHeaderModifier: HEADERS })) {
        world.route(route);
        const { headers } = (await world.ask("/", { headers: SENT })).echo;
        expect(headers).toMatchObject({ "x-set": "set", "x-add": "client, added", "x-kept": "client" });
        expect(headers).not.toHaveProperty("x-remove");
      }
    },
  ),
  row(
    both(
      "type",
      "responseHeaderModifier.set[].name",
      "responseHeaderModifier.set[].value",
      "responseHeaderModifier.add[].name",
      "responseHeaderModifier.add[].value",
      "responseHeaderModifier.remove[]",
    ),
    "HTTPRouteResponseHeaderModification: fields are set, added and removed on the way back",
    async (world) => {
      const responseHeaderModifier = { ...HEADERS, remove: ["x-backend"] };
      for (const route of inBoth({ type: "ResponseHeaderModifier", responseHeaderModifier })) {
        world.route(route);
        const { headers, echo } = await world.ask("/");
        expect(echo.backend).toBe("cart-v1");
        expect(headers).toMatchObject({ "x-set": "set", "x-add": "added" });
        expect(headers).not.toHaveProperty("x-backend");
      }
    },
  ),
  row(both("urlRewrite.hostname"), "the backend is told another host", async (world) => {
    for (const route of inBoth({ type: "URLRewrite", urlRewrite: { hostname: "one.example.org" } })) {
      world.route(route);
      expect((await world.ask("/")).echo.headers).toMatchObject({ host: "one.example.org" });
    }
  }),
  row(
    both("urlRewrite.path.type", "urlRewrite.path.replaceFullPath"),
    "MeshHTTPRouteRewritePath: the whole path is replaced, the query kept",
    async (world) => {
      const ask = rewritten(world, { type: "ReplaceFullPath", replaceFullPath: "/other" });
      expect(await ask("/one/two?x=1")).toEqual(["/other?x=1"]);
    },
  ),
  row(
    both("urlRewrite.path.type", "urlRewrite.path.replacePrefixMatch"),
    "MeshHTTPRouteRewritePath: the matched prefix is replaced",
    async (world) => {
      const three = rewritten(world, { type: "ReplacePrefixMatch", replacePrefixMatch: "/three" });
      expect(await three("/one/two?x=1")).toEqual(["/three/two?x=1"]);
      expect(await three("/one")).toEqual(["/three"]);
      expect(await three("/one/")).toEqual(["/three/"]);
      const away = rewritten(world, { type: "ReplacePrefixMatch", replacePrefixMatch: "/" });
      expect(await away("/one/two")).toEqual(["/two"]);
      expect(await away("/one")).toEqual(["/"]);
      expect(
        await rewritten(world, { type: "ReplacePrefixMatch", replacePrefixMatch: "/three/" })("/one/two"),
      ).toEqual(["/three/two"]);
    },
  ),
  row(
    "rules[].filters[].requestRedirect.hostname rules[].filters[].requestRedirect.statusCode",
    "MeshHTTPRouteRedirectHostAndStatus: another host, with the status asked for, 302 by itself",
    async (world) => {
      expect(await location(world, { hostname: "example.org" })).toBe("302 http://example.org/one/two?x=1");
      for (const statusCode of [301, 303, 307, 308] as const)
        expect(await location(world, { hostname: "example.org", statusCode })).toBe(
          `${statusCode} http://example.org/one/two?x=1`,
        );
    },
  ),
  row(
    "rules[].filters[].requestRedirect.port",
    "MeshHTTPRouteRedirectPort: another port, which is left out where it is the scheme's own",
    async (world) => {
      expect(await location(world, { port: 8083 })).toBe("302 http://cart.shop:8083/one/two?x=1");
      expect(await location(world, { port: 80 })).toBe("302 http://cart.shop/one/two?x=1");
    },
  ),
  row(
    "rules[].filters[].requestRedirect.scheme",
    "MeshHTTPRouteSchemeRedirect: another scheme with its own port, or the one asked for",
    async (world) => {
      expect(await location(world, { scheme: "https" })).toBe("302 https://cart.shop/one/two?x=1");
      expect(await location(world, { scheme: "https", port: 8443 })).toBe(
        "302 https://cart.shop:8443/one/two?x=1",
      );
    },
  ),
  row(
    "rules[].filters[].requestRedirect.path.type rules[].filters[].requestRedirect.path.replaceFullPath rules[].filters[].requestRedirect.path.replacePrefixMatch",
    "MeshHTTPRouteRedirectPath: another path, whole or by its prefix",
    async (world) => {
      expect(await location(world, { path: { type: "ReplaceFullPath", replaceFullPath: "/full" } })).toBe(
        "302 http://cart.shop/full?x=1",
      );
      expect(
        await location(world, { path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/three" } }),
      ).toBe("302 http://cart.shop/three/two?x=1");
    },
  ),
  row(
    "rules[].filters[].requestMirror.backendRef.name rules[].filters[].requestMirror.backendRef.version rules[].filters[].requestMirror.backendRef.cluster rules[].filters[].requestMirror.backendRef.namespace rules[].filters[].requestMirror.backendRef.kind rules[].filters[].requestMirror.backendRef.group rules[].filters[].requestMirror.backendRef.port",
    "HTTPRouteRequestMirror: another backend gets a copy with its body, and its answer is thrown away",
    async (world) => {
      const backendRef = {
        ...V2,
        namespace: "shop",
        cluster: "east",
        kind: "ServiceImport",
        group: "multicluster.x-k8s.io",
        port: 80,
      } as const;
      world.route(
        trafficRoute([
          { filters: [{ type: "RequestMirror", requestMirror: { backendRef } }], backendRefs: [V1] },
        ]),
      );
      world.backends["cart-v2"].behave = (_request, response) => {
        response.writeHead(500).end("thrown away");
        return true;
      };
      expect((await world.ask("/copied", { method: "POST", body: "body" })).echo.backend).toBe("cart-v1");
      const copy = await until("the copy arrives", 5_000, () => world.backends["cart-v2"].seen[0]);
      expect(copy).toMatchObject({ method: "POST", url: "/copied", body: "body" });
    },
  ),
  row(
    "rules[].filters[].requestMirror.percent rules[].filters[].requestMirror.fraction.numerator rules[].filters[].requestMirror.fraction.denominator",
    "HTTPRouteRequestPercentageMirror: a part of the requests is copied",
    async (world) => {
      for (const part of [
        { percent: 25 },
        { fraction: { numerator: 1, denominator: 4 } },
        { fraction: { numerator: 25 } },
      ]) {
        world.backends["cart-v2"].reset();
        world.route(
          trafficRoute([
            {
              filters: [{ type: "RequestMirror", requestMirror: { backendRef: V2, ...part } }],
              backendRefs: [V1],
            },
          ]),
        );
        for (let turn = 0; turn < 400; turn++) await world.ask("/");
        const copies = world.backends["cart-v2"].seen.length;
        expect(copies).toBeGreaterThan(60);
        expect(copies).toBeLessThan(140);
      }
    },
  ),
];
