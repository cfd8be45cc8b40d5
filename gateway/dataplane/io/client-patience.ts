/** How long a client may take, whichever protocol it speaks: what a slow one costs is bounded by these. */

// From the first byte of a head to its last, and for the next MIN_PROGRESS_BYTES of a body: a slow client ends here.
export const REQUEST_TIMEOUT_MS = 10_000;
// A body that trickles in more slowly than this holds a stream and a workload's thread for nothing.
export const MIN_PROGRESS_BYTES = 100;
// A workload that takes nothing of its answer for this long is gone; until then it holds only its own stream's window.
export const STALLED_READER_MS = 10_000;
// A gRPC stream may be held back by its reader on purpose; and over a slow line from outside it takes long until the last
// buffer has left, while nothing tells that a part of it has.
export const PATIENT_READER_MS = 30_000;
export const IDLE_TIMEOUT_MS = 120_000;
// Who drains ends a connection only when it has been idle for this long by a clock that moves once a second: on one that was
// answered a moment ago the next request may be under way, and would be lost.
export const DRAIN_IDLE_MS = 2_000;
