import type { Settings } from "node:http2";

/** A stalled stream holds at most this much in a hop; large enough for 1 Gbit/s at 2 ms. */
const STREAM_WINDOW_BYTES = 1024 * 1024;

/** Over all streams of a session; a paused stream gives its part back, so a stalled one does not starve the others. */
export const SESSION_WINDOW_BYTES = 32 * 1024 * 1024;

/** Streams a peer may have open on one session; a dialler opens more sessions before it gets there. */
export const MAX_STREAMS_PER_SESSION = 4_096;

/** MB that node:http2 may hold for one session before it refuses streams: windows of a few hundred stalled streams. */
export const MAX_SESSION_MEMORY_MB = 128;

export const TUNNEL_SETTINGS: Settings = {
  enablePush: false,
  initialWindowSize: STREAM_WINDOW_BYTES,
  maxConcurrentStreams: MAX_STREAMS_PER_SESSION,
  maxFrameSize: 64 * 1024,
  maxHeaderListSize: 16 * 1024,
  headerTableSize: 4_096,
};

/** Header names of tunnel requests and their refusals. */
export const TUNNEL_HEADER = {
  destination: "isthmus-destination",
  caller: "isthmus-caller",
  service: "isthmus-service",
  /** Only endpoints of this version of the service will do. */
  version: "isthmus-version",
  probe: "isthmus-probe",
  code: "isthmus-code",
  detail: "isthmus-detail",
} as const;

/** Value of the ALTSVC frame (RFC 7838 §4) that tells the hop before: this stream's way is draining, stop reusing it. */
export const DRAIN_HINT = "clear";
