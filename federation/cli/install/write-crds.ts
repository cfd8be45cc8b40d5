import { writeFileSync } from "node:fs";
import { stringify } from "yaml";
import { POLICY_KINDS } from "../../model/wire/policy-kinds.ts";
import { crdOf } from "./crd.ts";

const HEAD = "# Made from the schemas in federation/model/wire: npm run crds\n";

/** What `infra/kubernetes/crds/isthmus.yaml` should say. */
export function renderCrds(): string {
  return (
    HEAD + POLICY_KINDS.map((kind) => stringify(crdOf(kind), { aliasDuplicateObjects: false })).join("---\n")
  );
}

if (import.meta.main)
  writeFileSync(new URL("../../../infra/kubernetes/crds/isthmus.yaml", import.meta.url), renderCrds());
