import { describe, expect, it } from "vitest";
import { chooseConnection } from "./connection.ts";

const context = {
  name: "demo",
  registry: "http://127.0.0.1:7070",
  tokenFile: "demo.token",
  cluster: "east",
};

describe("choosing the registry", () => {
  it("takes everything from the context when nothing else is given", () => {
    expect(chooseConnection({}, context)).toEqual({
      registry: "http://127.0.0.1:7070",
      tokenFile: "demo.token",
      cluster: "east",
    });
  });

  it("lets each flag win by itself", () => {
    expect(chooseConnection({ tokenFile: "mine", cluster: "west" }, context)).toEqual({
      registry: "http://127.0.0.1:7070",
      tokenFile: "mine",
      cluster: "west",
    });
  });

  it("never shows a context's token to another registry", () => {
    expect(chooseConnection({ registry: "https://elsewhere.example/" }, context)).toEqual({
      registry: "https://elsewhere.example",
      cluster: "east",
    });
  });

  it("knows none without a context and a flag", () => {
    expect(chooseConnection({ tokenFile: "mine" }, undefined)).toBeUndefined();
  });
});
