import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { renderCrds } from "./write-crds.ts";

const FOLDER = new URL("../../../infra/kubernetes/crds/", import.meta.url);

interface Definition {
  readonly spec: {
    readonly versions: readonly {
      readonly additionalPrinterColumns: readonly { readonly jsonPath: string }[];
    }[];
  };
}

test("the CustomResourceDefinitions in infra/kubernetes are those that the schemas make", () => {
  expect(readFileSync(new URL("isthmus.yaml", FOLDER), "utf8")).toBe(renderCrds());
});

test.each(["isthmus.yaml", "multicluster.yaml"])(
  "%s: no column has several results, of which an API server would show the first as if it were all",
  (file) => {
    const definitions = parseAllDocuments(readFileSync(new URL(file, FOLDER), "utf8"));
    const paths = definitions
      .map((document) => document.toJS() as Definition)
      .flatMap(({ spec }) => spec.versions.flatMap((version) => version.additionalPrinterColumns))
      .map(({ jsonPath }) => jsonPath);
    expect(paths.length).toBeGreaterThan(10);
    expect(paths.filter((path) => /\[\*\]|\['[^']*',/.test(path))).toEqual([]);
  },
);
