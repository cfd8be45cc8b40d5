import { spawnSync } from "node:child_process";
import { expect, it, onTestFinished } from "vitest";
import { Netns, namesLeftBehind, removeLeftBehind, whyNoNetns } from "./netns.ts";

it("knows whose a link or a namespace is by its name, and leaves alone what it does not know", () => {
  const dead = (123_456).toString(36);
  const living = (4_194_304).toString(36);
  const names = [`im${dead}-br`, `it${dead}-wone`, `im${living}-br`, "im123br", "eth0", "lo", ""];
  expect(namesLeftBehind(names, (pid) => pid === 4_194_304)).toEqual(names.slice(0, 2));
  expect(`im${living}-wedgeo`.length).toBeLessThanOrEqual(15);
});

const reason =
  process.env["ISTHMUS_TEST_CAPTURE"] === undefined ? "npm run test:capture runs it" : whyNoNetns();

it.skipIf(reason !== undefined)(
  `takes away what a killed run left, with the processes in it, and nothing of one that lives${reason === undefined ? "" : ` (${reason})`}`,
  async () => {
    const [dead, living] = [new Netns("iy", 12_345), new Netns("iz")];
    onTestFinished(() => {
      dead.remove();
      living.remove();
    });
    for (const netns of [living, dead]) {
      netns.bridge("br", netns === dead ? "198.18.250.1/24" : "198.18.249.1/24");
      netns.add("one");
      netns.attach("br", "one", "w", netns === dead ? "198.18.250.2/24" : "198.18.249.2/24");
    }
    const left = dead.spawn("one", ["sleep", "600"], {}, []);
    const ended = new Promise((resolve) => left.once("exit", resolve));
    removeLeftBehind((pid) => pid !== 12_345);
    await ended;
    const there = (name: string) =>
      spawnSync("ip", ["netns", "list"], { encoding: "utf8" }).stdout.includes(name) ||
      spawnSync("ip", ["link", "show", name]).status === 0;
    expect([dead, living].map((netns) => [there(netns.name("one")), there(netns.name("br"))])).toEqual([
      [false, false],
      [true, true],
    ]);
  },
);
