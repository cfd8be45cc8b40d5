import { err, ok, type Result } from "../../federation/model/result.ts";
import { KEY_SET_HEADER } from "../../federation/model/wire/snapshot-delta.ts";
import type { Clock } from "../process/clock.ts";
import type { Fetch, FetchAnswer } from "./http-fetch.ts";

export interface BoundedRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: { readonly [name: string]: string };
  readonly body?: string;
  readonly signal?: AbortSignal;
  /** For the whole exchange: a registry that drips bytes gains nothing. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

export interface BoundedResponse {
  readonly status: number;
  readonly text: string;
  readonly etag?: string;
  readonly date?: string;
  /** As it was sent. */
  readonly retryAfter?: string;
  /** `isthmus-key-set`, as it was sent. */
  readonly keySet?: string;
}

/** One exchange that ends in time and in bounded memory, whatever the other side does. Never rejects. */
export async function fetchBounded(
  fetcher: Fetch,
  clock: Clock,
  { url, method, headers, body, signal, timeoutMs, maxBytes }: BoundedRequest,
): Promise<Result<BoundedResponse, string>> {
  const abort = new AbortController();
  const onAbort = (): void => abort.abort(new Error("given up"));
  if (signal?.aborted === true) return err("given up");
  signal?.addEventListener("abort", onAbort, { once: true });
  const timer = clock.after(timeoutMs, () =>
    abort.abort(new Error(`no answer within ${timeoutMs / 1000} s`)),
  );
  try {
    const response = await fetcher(url, {
      method,
      headers,
      signal: abort.signal,
      // A signature is for one URL: following a redirect would show it to somebody else.
      redirect: "manual",
      ...(body === undefined ? {} : { body }),
    });
    const text = await readBounded(response, maxBytes);
    if (!text.ok) return text;
    const etag = response.headers.get("etag");
    const date = response.headers.get("date");
    const retryAfter = response.headers.get("retry-after");
    const keySet = response.headers.get(KEY_SET_HEADER);
    return ok({
      status: response.status,
      text: text.value,
      ...(etag === null ? {} : { etag }),
      ...(date === null ? {} : { date }),
      ...(retryAfter === null ? {} : { retryAfter }),
      ...(keySet === null ? {} : { keySet }),
    });
  } catch (error) {
    return err(reasonOf(abort.signal.aborted ? abort.signal.reason : error));
  } finally {
    timer.cancel();
    signal?.removeEventListener("abort", onAbort);
  }
}

async function readBounded(response: FetchAnswer, maxBytes: number): Promise<Result<string>> {
  if (response.body === null) return ok("");
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop early ends the exchange.
  for await (const chunk of response.body) {
    size += chunk.byteLength;
    if (size > maxBytes) return err(`the answer has more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return ok(Buffer.concat(chunks).toString("utf8"));
}

/** fetch says "fetch failed" and hides why in the cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  const code = "code" in cause && typeof cause.code === "string" ? cause.code : "";
  return cause.message !== "" ? cause.message : code || error.message;
}
