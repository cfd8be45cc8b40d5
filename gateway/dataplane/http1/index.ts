export {
  BODY_END,
  chunkHead,
  ChunkedDecoder,
  type ChunkedLimits,
  type ChunkedOutput,
  type ChunkedStatus,
  type ChunkSink,
  DEFAULT_CHUNKED_LIMITS,
} from "./chunked.ts";
export type { BodyFraming } from "./framing.ts";
export { fieldValue, headFields } from "./head-fields.ts";
export { latin1 } from "./latin1.ts";
export { DEFAULT_HEAD_LIMITS, type HeadLimits, type HeadOutcome } from "./outcome.ts";
export { parseRequestHead, type RequestHead } from "./request-head.ts";
export { type AnsweredRequest, parseResponseHead, type ResponseHead } from "./response-head.ts";
