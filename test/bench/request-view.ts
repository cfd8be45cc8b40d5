import { parseRequestHead } from "../../gateway/dataplane/http1/index.ts";
import { Http1RequestView } from "../../gateway/dataplane/http1/request-view.ts";

/** What curl would send, with some fields more, as routing and rules see it. */
export function requestView(line: string, ...fields: readonly string[]): Http1RequestView {
  const lines = [line, "Host: cart.shop", "User-Agent: curl/8.5.0", ...fields, "", ""];
  const bytes = Buffer.from(lines.join("\r\n"));
  const outcome = parseRequestHead(bytes, 0, bytes.length);
  if (outcome.kind !== "head") throw new Error(outcome.kind);
  return new Http1RequestView().of(outcome.head);
}
