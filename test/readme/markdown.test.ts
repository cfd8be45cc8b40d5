import { describe, expect, test } from "vitest";
import { blocksOf, commandsOf, localLinksOf, maskFigures } from "./markdown.ts";

describe("reading a document", () => {
  test("finds fenced blocks, their language and the mark above them", () => {
    const text = "a\n\n```sh\nnpm ci\n```\n\n<!-- transcript: x -->\n\n```console\n$ x\n```\n";
    expect(blocksOf(text)).toEqual([
      { language: "sh", mark: undefined, text: "npm ci\n" },
      { language: "console", mark: "transcript: x", text: "$ x\n" },
    ]);
  });

  test("finds links into the repository only", () => {
    expect(localLinksOf("[a](test/a.md#b) [c](https://c.d) [e](#f)")).toEqual(["test/a.md"]);
  });

  test("splits a script into the words of its commands", () => {
    const script = [
      "# all of it",
      "npm ci && npm start   # comment",
      "isthmus up -f a.yaml \\",
      "  -o json > ready.json 2>/dev/null &",
      "isthmus apply -f - <<'EOF'",
      "kind: ServiceExport",
      "EOF",
      'isthmus service export cart.shop --workload "ns/shop/sa/*"',
    ].join("\n");
    expect(commandsOf(script)).toEqual([
      ["npm", "ci"],
      ["npm", "start"],
      ["isthmus", "up", "-f", "a.yaml", "-o", "json"],
      ["isthmus", "apply", "-f", "-"],
      ["isthmus", "service", "export", "cart.shop", "--workload", "ns/shop/sa/*"],
    ]);
  });

  test("masks what is measured and keeps what is claimed", () => {
    expect(maskFigures("web   200 in 3.4 ms on 127.0.0.1:18080 (pid 12)")).toBe(
      "web 200 in <time> on 127.0.0.1:<port> (pid <pid>)",
    );
    expect(maskFigures("403 ISTH-2001 of 2 clusters")).toBe("403 ISTH-2001 of 2 clusters");
  });
});
