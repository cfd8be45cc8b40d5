import type { ConnectionOptions } from "../http2/connection.ts";

/** A stalled stream holds at most this much in a hop; large enough for 1 Gbit/s at 2 ms. */
const STREAM_WINDOW_BYTES = 1024 * 1024;

/** Over all streams of a session; a paused stream gives its part back, so a stalled one does not starve the others. */
const SESSION_WINDOW_BYTES = 32 * 1024 * 1024;

/** Streams a peer may have open on one session; a dialler opens more sessions before it gets there. */
const MAX_STREAMS_PER_SESSION = 4_096;

/** What paused streams of one session may hold together: the windows of a hundred and more. */
const MAX_QUEUED_BYTES = 128 * 1024 * 1024;

export const TUNNEL_CONNECTION: Omit<ConnectionOptions, "role"> = {
  maxStreams: MAX_STREAMS_PER_SESSION,
  streamWindowBytes: STREAM_WINDOW_BYTES,
  connectionWindowBytes: SESSION_WINDOW_BYTES,
  maxFrameBytes: 64 * 1024,
  headers: { listBytes: 16 * 1024, fields: 64 },
  maxQueuedBytes: MAX_QUEUED_BYTES,
};

/** A workload's HTTP/2 connection, and a session with a far workload: far fewer streams, and heads as large as HTTP/1.1 may have. */
export const WORKLOAD_CONNECTION: Omit<ConnectionOptions, "role"> = {
  maxStreams: 250,
  streamWindowBytes: 512 * 1024,
  connectionWindowBytes: 8 * 1024 * 1024,
  maxFrameBytes: 16 * 1024,
  headers: { listBytes: 40 * 1024, fields: 110 },
  maxQueuedBytes: 16 * 1024 * 1024,
};

/** Header names of tunnel requests and their refusals. */
export const TUNNEL_HEADER = {
  destination: "isthmus-destination",
  caller: "isthmus-caller",
  service: "isthmus-service",
  /** Only endpoints of this version of the service will do. */
  version: "isthmus-version",
  /** Asked: rather this endpoint. Answered: which one it is. */
  endpoint: "isthmus-endpoint",
  /** Endpoints that fail, comma-separated: rather another one. */
  avoid: "isthmus-avoid",
  /** A control channel, not a service: the name of the process that opens it. */
  control: "isthmus-control",
  probe: "isthmus-probe",
  /** How a workload came that wants to leave the federation: address, proxy or sni. */
  way: "isthmus-way",
  code: "isthmus-code",
  detail: "isthmus-detail",
} as const;

/** Value of the ALTSVC frame (RFC 7838 §4) that tells the hop before: this stream's way is draining, stop reusing it. */
export const DRAIN_HINT = "clear";

/** Authority of a control channel: the gateway itself. */
export const CONTROL_AUTHORITY = "control.isthmus-system:15008";
