import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readResponse } from "../fakes/http-wire.ts";
import { type Mesh, startMesh } from "../fakes/mesh.ts";
import { dialRaw } from "../fakes/raw-socket.ts";
import { until } from "../fakes/until.ts";

const ROUNDS = 40;
const REQUESTS = 12;

/** The same numbers in every run, so that a failure can be seen again. */
function randomNumbers(seed: number) {
  let state = seed;
  return (limit: number) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % limit;
  };
}

type Draw = ReturnType<typeof randomNumbers>;

/** One request of some shape, and what its echo says. */
function someRequest(draw: Draw, index: number): { readonly bytes: string; readonly echo: string } {
  const path = `/${index}-${"p".repeat(draw(200))}`;
  const body = "b".repeat(draw(3) === 0 ? draw(40_000) : draw(20));
  const head = (method: string, ...fields: readonly string[]) =>
    [`${method} ${path} HTTP/1.1`, "Host: cart.shop", ...fields, "", ""].join("\r\n");
  switch (draw(4)) {
    case 0:
      return { bytes: head("GET"), echo: `GET ${path} 0` };
    case 1:
      return { bytes: head("PUT", "Content-Length: 0"), echo: `PUT ${path} 0` };
    case 2:
      return {
        bytes: head("POST", `Content-Length: ${body.length}`) + body,
        echo: `POST ${path} ${body.length}`,
      };
    default: {
      const cut = draw(body.length + 1);
      const chunks = [body.slice(0, cut), body.slice(cut)].filter((chunk) => chunk !== "");
      const coded = chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join("");
      return {
        bytes: `${head("POST", "Transfer-Encoding: chunked")}${coded}0\r\n\r\n`,
        echo: `POST ${path} ${body.length}`,
      };
    }
  }
}

describe.each([{ agents: false }, { agents: true }])("pipelined requests, agents: $agents", ({ agents }) => {
  let server: Server;
  let mesh: Mesh;
  beforeAll(async () => {
    server = createServer((request, response) => {
      let length = 0;
      request.on("data", (chunk: Buffer) => (length += chunk.length));
      request.on("end", () => {
        const echo = `${request.method} ${request.url} ${length}`;
        response.setHeader("content-length", echo.length);
        response.end(echo);
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const bound = server.address();
    mesh = await startMesh({ agents, endpoint: `127.0.0.1:${typeof bound === "object" ? bound?.port : 0}` });
  });
  afterAll(async () => {
    mesh.close();
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });

  it("of every shape are answered in order, however their bytes are cut into packets", async () => {
    for (let round = 1; round <= ROUNDS; round++) {
      const draw = randomNumbers(round);
      const requests = Array.from({ length: REQUESTS }, (_, index) => someRequest(draw, index));
      const client = await dialRaw(mesh.address("ns/shop/sa/web"));
      for (let rest = requests.map(({ bytes }) => bytes).join(""); rest !== ""; ) {
        const size = 1 + draw(draw(2) === 0 ? 50 : 70_000);
        client.send(rest.slice(0, size));
        rest = rest.slice(size);
        if (draw(3) === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      const echoes: string[] = [];
      let bytes = Buffer.alloc(0);
      await until(`round ${round} is answered`, 10_000, () => {
        bytes = Buffer.concat([bytes, Buffer.from(client.text, "latin1")]);
        client.forget();
        for (let read = readResponse(bytes); read !== undefined; read = readResponse(bytes)) {
          echoes.push(read.response.body);
          bytes = Buffer.from(read.rest);
        }
        return echoes.length >= REQUESTS ? true : undefined;
      });
      expect(echoes, `round ${round}`).toEqual(requests.map(({ echo }) => echo));
      client.destroy();
    }
  });
});
