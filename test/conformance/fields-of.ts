import * as z from "zod";

interface Node {
  readonly properties?: { readonly [name: string]: Node };
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
  readonly oneOf?: readonly Node[];
}

/** Every field that a document of this schema may have, as `spec.rules[].matches[].path.type`; objects only by their fields. */
export function fieldsOf(schema: z.ZodType): readonly string[] {
  const found = new Set<string>();
  collect(z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Node, "", found);
  return [...found].sort();
}

function collect(node: Node, path: string, found: Set<string>): void {
  const { properties, items, anyOf, oneOf } = node;
  const parts = anyOf ?? oneOf;
  if (parts !== undefined) for (const part of parts) collect(part, path, found);
  else if (items !== undefined) collect(items, `${path}[]`, found);
  else if (properties !== undefined) {
    for (const [name, field] of Object.entries(properties))
      collect(field, path === "" ? name : `${path}.${name}`, found);
  } else found.add(path);
}
