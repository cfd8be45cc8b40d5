import { ErrorCode, type ConnectionFault } from "./error-code.ts";
import {
  DEFAULT_TABLE_BYTES,
  DEFAULT_WINDOW_BYTES,
  MAX_MAX_FRAME_BYTES,
  MAX_WINDOW_BYTES,
  MIN_MAX_FRAME_BYTES,
  SettingId,
} from "./frame.ts";

/** What one side of a connection says of itself (RFC 9113 §6.5.2). */
export interface Settings {
  headerTableBytes: number;
  maxStreams: number;
  streamWindowBytes: number;
  maxFrameBytes: number;
  maxHeaderListBytes: number;
}

export function defaultSettings(): Settings {
  return {
    headerTableBytes: DEFAULT_TABLE_BYTES,
    // Not limited by the RFC until the peer says so; at most this many are opened before it does.
    maxStreams: 100,
    streamWindowBytes: DEFAULT_WINDOW_BYTES,
    maxFrameBytes: MIN_MAX_FRAME_BYTES,
    maxHeaderListBytes: Number.POSITIVE_INFINITY,
  };
}

const FIELD_BYTES = 6;

/** Applies the payload of a SETTINGS frame to what is known of the peer; answers what is wrong with it. */
export function applySettings(
  settings: Settings,
  buffer: Buffer,
  start: number,
  end: number,
): ConnectionFault | undefined {
  if ((end - start) % FIELD_BYTES !== 0) {
    return { code: ErrorCode.frameSizeError, detail: "SETTINGS of a length that cannot be" };
  }
  for (let at = start; at < end; at += FIELD_BYTES) {
    const fault = applySetting(settings, buffer.readUInt16BE(at), buffer.readUInt32BE(at + 2));
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function applySetting(settings: Settings, id: number, value: number): ConnectionFault | undefined {
  switch (id) {
    case SettingId.headerTableSize:
      settings.headerTableBytes = value;
      return undefined;
    case SettingId.enablePush:
      return value > 1 ? fault("ENABLE_PUSH is neither 0 nor 1") : undefined;
    case SettingId.maxConcurrentStreams:
      settings.maxStreams = value;
      return undefined;
    case SettingId.initialWindowSize:
      if (value > MAX_WINDOW_BYTES)
        return { code: ErrorCode.flowControlError, detail: "INITIAL_WINDOW_SIZE beyond 2^31-1" };
      settings.streamWindowBytes = value;
      return undefined;
    case SettingId.maxFrameSize:
      if (value < MIN_MAX_FRAME_BYTES || value > MAX_MAX_FRAME_BYTES)
        return fault("MAX_FRAME_SIZE out of range");
      settings.maxFrameBytes = value;
      return undefined;
    case SettingId.maxHeaderListSize:
      settings.maxHeaderListBytes = value;
      return undefined;
    default:
      return undefined; // unknown parameters are ignored
  }
}

function fault(detail: string): ConnectionFault {
  return { code: ErrorCode.protocolError, detail };
}
