import { describe, expect, it } from "vitest";
import type { Resource, WithStatus } from "../../model/resource.ts";
import { mergeConsumers } from "./service.ts";
import { serviceRows } from "./service-list.ts";

const apiVersion = "isthmus.dev/v1alpha1" as const;
const ready = { conditions: [{ type: "Ready", status: "True", reason: "Ready", message: "" }] } as const;
const cart = { cluster: "east", namespace: "shop", name: "cart" };

const service: WithStatus<Resource> = {
  apiVersion,
  kind: "Service",
  metadata: cart,
  spec: { ports: [{ port: 80, protocol: "http" }] },
  status: { conditions: [] },
};
const exported: WithStatus<Resource> = {
  apiVersion,
  kind: "ServiceExport",
  metadata: cart,
  spec: { consumers: [{ cluster: "west" }] },
  status: ready,
};
const imported: WithStatus<Resource> = {
  apiVersion,
  kind: "ServiceImport",
  metadata: { ...cart, cluster: "west", name: "basket" },
  spec: { from: { cluster: "east", name: "cart" } },
  status: { conditions: [{ type: "Ready", status: "False", reason: "NoGateway", message: "none there" }] },
};

describe("the list of services", () => {
  it("shows both halves of a sharing, each at its own cluster", () => {
    expect(serviceRows([imported, exported, service])).toEqual([
      {
        cluster: "east",
        service: "cart.shop",
        ports: ["80/http"],
        exportedTo: ["west"],
        importedBy: ["west"],
        status: "Ready",
        message: "",
      },
      {
        cluster: "west",
        service: "basket.shop",
        ports: ["80/http"],
        importedFrom: "east (cart.shop)",
        exportedTo: [],
        importedBy: [],
        status: "NoGateway",
        message: "none there",
      },
    ]);
  });

  it("shows a service that nobody exports, and an export without a service", () => {
    expect(serviceRows([service]).map(({ status }) => status)).toEqual(["-"]);
    expect(serviceRows([exported]).map(({ ports }) => ports)).toEqual([[]]);
  });
});

describe("exporting to one more cluster", () => {
  it("keeps the others and replaces what was said of the same one", () => {
    const before = [{ cluster: "north" }, { cluster: "west", workloads: ["*"] }];
    expect(mergeConsumers(before, [{ cluster: "west", workloads: ["ns/shop/sa/web"] }])).toEqual([
      { cluster: "north" },
      { cluster: "west", workloads: ["ns/shop/sa/web"] },
    ]);
  });
});
