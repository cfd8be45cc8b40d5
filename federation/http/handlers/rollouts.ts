import * as z from "zod";
import { rolloutAction, rolloutAnswer } from "../../model/wire/api.ts";
import { requireOperator } from "../access.ts";
import { type Endpoint, pathParam } from "../endpoint.ts";
import { orThrow, problemError } from "../problem-error.ts";
import { decodeQuery } from "../query.ts";

const actionQuery = z.strictObject({ dryRun: z.enum(["true", "false"]).exactOptional() });

export const ROLLOUT_ENDPOINTS: readonly Endpoint[] = [
  {
    method: "post",
    path: "/v1/rollouts/{cluster}/{namespace}/{name}/{action}",
    summary:
      "pause, promote or abort a rollout; promoting one that was paused by hand takes its step up again, one that went back begins anew",
    security: ["operator"],
    query: actionQuery,
    answer: { status: 200, schema: rolloutAnswer },
    async handle(c, { registry }) {
      const actor = await requireOperator(registry, c, "editor");
      const action = rolloutAction.safeParse(pathParam(c, "action"));
      if (!action.success) {
        const message = "must be pause, promote or abort";
        throw problemError("request_invalid", message, [{ path: "action", message }]);
      }
      const key = {
        kind: "Rollout" as const,
        cluster: pathParam(c, "cluster"),
        namespace: pathParam(c, "namespace"),
        name: pathParam(c, "name"),
      };
      const { dryRun } = decodeQuery(c, actionQuery);
      return c.json(orThrow(await registry.rollouts.command(actor, key, action.data, dryRun === "true")));
    },
  },
];
