import { describe, expect, it } from "vitest";
import { parseDocuments } from "./documents.ts";
import { renderMistake } from "./mistake.ts";

const complain = (text: string, path: string, document = 0): string => {
  const object = parseDocuments("f.yaml", text).objects[document];
  if (object === undefined) throw new Error("no such document");
  return renderMistake(object.mistake({ path, message: "is wrong" }));
};

describe("reading a file of several documents", () => {
  it("finds the place of a field in the document it stands in", () => {
    const text = "kind: A\nspec: {}\n---\nkind: B\nspec:\n  ports:\n    - port: 80\n    - prot: 81\n";
    expect(complain(text, "spec.ports[1].prot", 1)).toBe("f.yaml:8:7 spec.ports[1].prot is wrong");
  });

  it("points at the nearest parent of a field that is missing", () => {
    const text = "kind: A\nmetadata:\n  name: x\n";
    expect(complain(text, "metadata.cluster")).toBe("f.yaml:2:1 metadata.cluster is wrong");
  });

  it("points at the item of a list", () => {
    expect(complain("a:\n  - one\n  - two\n", "a[1]")).toBe("f.yaml:3:5 a[1] is wrong");
  });

  it("reports every syntax error and still reads the healthy documents", () => {
    const parsed = parseDocuments("f.yaml", "a: 1\na: 2\n---\nb: [1, 2\n---\nkind: C\n");
    expect(parsed.mistakes.map((mistake) => mistake.line)).toEqual([2, 5]);
    expect(parsed.objects.map((object) => object.value)).toEqual([{ kind: "C" }]);
  });

  it("leaves empty documents out", () => {
    expect(parseDocuments("f.yaml", "---\n---\n# nothing\n---\nnull\n")).toEqual({
      objects: [],
      mistakes: [],
    });
  });

  it("refuses a document that grows by its aliases", () => {
    const levels = Array.from({ length: 9 }, (_, i) => `l${i + 1}: &l${i + 1} [${`*l${i},`.repeat(9)}]`);
    const parsed = parseDocuments("f.yaml", ["l0: &l0 [x]", ...levels].join("\n"));
    expect(parsed.mistakes.map((mistake) => mistake.message)).toEqual(["too many aliases"]);
  });

  it("takes the items of a list, as get prints it", () => {
    const text = "kind: ServiceExportList\nitems:\n  - kind: ServiceExport\n    spec: {a: 1}\n";
    const { objects } = parseDocuments("f.yaml", text);
    expect(objects.map((object) => object.value)).toEqual([{ kind: "ServiceExport", spec: { a: 1 } }]);
    expect(complain(text, "spec.a")).toBe("f.yaml:4:12 items[0].spec.a is wrong");
  });

  it("adds what was probably meant", () => {
    const mistake = { file: "f.yaml", line: 1, column: 1, path: "nmae", message: "unknown field" };
    expect(renderMistake({ ...mistake, suggestion: "name" })).toBe(
      'f.yaml:1:1 nmae unknown field (did you mean "name"?)',
    );
  });
});
