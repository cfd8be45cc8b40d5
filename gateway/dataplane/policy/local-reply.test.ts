import { describe, expect, it } from "vitest";
import { PROBLEMS, type ProblemName } from "../../../federation/model/problem.ts";
import { LOCAL_REPLY, localReply, problemNameOf } from "./local-reply.ts";

const NAMES = Object.keys(PROBLEMS) as ProblemName[];

describe("the replies of the data plane", () => {
  it("have a row for every refusal about peers, callers, HTTP and the way to a service", () => {
    const dataPlane = NAMES.filter((name) => /^ISTH-(10[012]|2|3|4)/.test(PROBLEMS[name].code));
    expect(Object.keys(LOCAL_REPLY).sort()).toEqual(dataPlane.sort());
  });

  it.each(Object.entries(LOCAL_REPLY))("%s is an error with a status", (_name, reply) => {
    expect(reply.http).toBeGreaterThanOrEqual(400);
    expect(reply.http).toBeLessThanOrEqual(599);
  });

  it("end the connection whenever its bytes can no longer be trusted", () => {
    for (const name of NAMES.filter((candidate) => candidate.startsWith("http_"))) {
      expect(localReply(name)).toMatchObject({ close: true });
    }
  });

  it("answer 500 and close for a problem that the data plane does not have", () => {
    expect(localReply("disk_full")).toEqual({ http: 500, close: true });
  });
});

describe("a problem named by its code", () => {
  it.each(NAMES)("%s is found again", (name) => {
    expect(problemNameOf(PROBLEMS[name].code)).toBe(name);
  });

  it("is a broken connection when the code is unknown or absent", () => {
    for (const code of [undefined, "", "ISTH-9999", "__proto__", "isth-2001"]) {
      expect(problemNameOf(code)).toBe("upstream_reset");
    }
  });

  it("has a code of its own", () => {
    expect(new Set(NAMES.map((name) => PROBLEMS[name].code)).size).toBe(NAMES.length);
  });
});
