import * as z from "zod";
import { auditList } from "../../model/wire/api.ts";
import { requireOperator } from "../access.ts";
import type { Endpoint } from "../endpoint.ts";
import { orThrow } from "../problem-error.ts";
import { decodeQuery } from "../query.ts";

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1_000;

const number = (name: string) => z.stringFormat(name, /^[0-9]{1,15}$/);
const auditQuery = z.strictObject({
  after: number("revision").exactOptional(),
  limit: number("number").exactOptional(),
});

export const AUDIT_ENDPOINTS: readonly Endpoint[] = [
  {
    method: "get",
    path: "/v1/audit",
    summary: "Who changed what, oldest first, after a revision",
    security: ["operator"],
    query: auditQuery,
    answer: { status: 200, schema: auditList },
    async handle(c, { registry }) {
      await requireOperator(registry, c, "viewer");
      const { after = "0", limit } = decodeQuery(c, auditQuery);
      const asked = limit === undefined ? DEFAULT_LIMIT : Number(limit);
      const page = { after: Number(after), limit: Math.min(Math.max(asked, 1), MAX_LIMIT) };
      return c.json(orThrow(await registry.audit(page)));
    },
  },
];
