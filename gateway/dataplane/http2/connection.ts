// Longer than other files: the frames of one connection act on one set of windows and streams.
import { type ConnectionFault, ErrorCode } from "./error-code.ts";
import {
  DEFAULT_WINDOW_BYTES,
  Flag,
  FrameType,
  MAX_STREAM_ID,
  MAX_WINDOW_BYTES,
  PREFACE,
  readUint31,
  SettingId,
} from "./frame.ts";
import { FrameReader, type FrameSink } from "./frame-reader.ts";
import { type HeaderLimits, HpackDecoder } from "./hpack-decoder.ts";
import { HpackEncoder } from "./hpack-encoder.ts";
import { contentLength, malformedRequest, malformedResponse, malformedTrailers } from "./message-fields.ts";
import { Output, SLAB_BYTES } from "./output.ts";
import { applySettings, defaultSettings, type Settings } from "./settings.ts";
import { Stream, type StreamHandler } from "./stream.ts";
import { StreamTable } from "./stream-table.ts";

export interface ConnectionOptions {
  readonly role: "client" | "server";
  readonly maxStreams: number;
  readonly streamWindowBytes: number;
  /** Over all streams. What paused streams hold is given back, so that a stalled one does not starve the others. */
  readonly connectionWindowBytes: number;
  readonly maxFrameBytes: number;
  readonly headers: HeaderLimits;
  /** What paused streams may hold together before the peer's streams have to wait for them. */
  readonly maxQueuedBytes: number;
  /** Ask before the peer's SETTINGS have come (RFC 9113 §3.4), where they prove nothing that has to be known first. */
  readonly asksAtOnce?: boolean;
}

/** The side of a connection that has a clock, a transport and an opinion. */
export interface ConnectionHost {
  /** There is something for `flush` to do; called once until it was called. */
  wake(): void;
  /** Bytes are on their way, and `flush` is called when they are written: what is only to be written need not wake anybody. */
  readonly isWriting: boolean;
  /** A peer's request; the answer hears of the rest. `isTooLarge`: `fields` are not all of it. */
  request(stream: Stream, fields: readonly string[], ended: boolean, isTooLarge: boolean): StreamHandler;
  /** The peer's first SETTINGS: it has accepted us. */
  ready(): void;
  pong(): void;
  /** The peer wants no more streams; those that it has not looked at are closed with REFUSED_STREAM. */
  goaway(code: number, detail: string): void;
  /** The peer broke the protocol: GOAWAY is on its way and every stream is closed. */
  fault(fault: ConnectionFault): void;
  /** For those who count what a peer costs. */
  noticed(event: Notice): void;
}

/** PING or SETTINGS · the first PING after DATA of ours · a frame to no purpose · RST_STREAM from the peer · a stream that we had to reset. */
export type Notice = "control" | "measuring-ping" | "idle-frame" | "peer-reset" | "stream-error";

// A header block longer than the list that it may decode to is padding or an attack.
const MAX_CONTINUATIONS = 32;
// What one waiting stream sends before it is another's turn.
const TURN_BYTES = 32 * 1024;
// DATA waits beyond this; frames that answer the peer do not, and a peer that never reads them is cut at the second figure.
const MAX_GATHERED_BYTES = 8 * SLAB_BYTES;
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;
const MAX_REMEMBERED_RESETS = 1_024;
// A window update for less than this is no help to anybody.
const TINY_UPDATE_BYTES = 256;
/** In GOAWAY: every stream that may still begin is taken. */
const ANY_STREAM = 0x7fff_ffff;
const MAX_GOAWAY_TEXT = 256;

/**
 * One HTTP/2 connection (RFC 9113) as a machine without I/O: bytes and calls in, bytes (in `output`) and calls to its host and
 * handlers out. Which side asks is independent of who dialled.
 */
export class Connection implements FrameSink {
  readonly output = new Output();
  queuedBytes = 0;
  readonly #options: ConnectionOptions;
  readonly #host: ConnectionHost;
  readonly #isServer: boolean;
  readonly #reader: FrameReader;
  readonly #decoder: HpackDecoder;
  readonly #encoder = new HpackEncoder();
  readonly #peer: Settings = defaultSettings();
  readonly #streams = new StreamTable();
  #prefaceSeen = 0;
  #isReady = false;
  #isDead = false;
  #isDraining = false;
  #peerDrains = false;
  #isAwake = false;
  #sendWindow = DEFAULT_WINDOW_BYTES;
  /** Since the peer's last PING. */
  #hasSentData = false;
  #receiveWindow: number;
  #taken = 0;
  #nextId: number;
  #lastPeerId = 0;
  #waiting: Stream[] = [];
  #resuming: Stream[] = [];
  #closing: Stream[] = [];
  /** Reset by us a short time ago: what is still under way for them is no offence. */
  readonly #forgotten = new Set<number>();
  /** Of the header block under way: CONTINUATION must follow. */
  #blockStream = 0;
  #blockFlags = 0;
  #block: Buffer | undefined;
  #continuations = 0;
  /** Of the DATA frame under way. */
  #dataStream: Stream | undefined;
  #dataLength = 0;
  #dataContent = 0;
  #sentMaxFrame: number;

  constructor(options: ConnectionOptions, host: ConnectionHost) {
    this.#options = options;
    this.#host = host;
    this.#isServer = options.role === "server";
    this.#nextId = this.#isServer ? 2 : 1;
    this.#reader = new FrameReader(this, options.maxFrameBytes);
    this.#decoder = new HpackDecoder(options.headers);
    this.#receiveWindow = options.connectionWindowBytes;
    this.#sentMaxFrame = this.#peer.maxFrameBytes;
    this.#greet();
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** Streams that the peer takes at a time. */
  get peerStreams(): number {
    return this.#peer.maxStreams;
  }

  /** Whether `request` would be answered with a stream. */
  get takesStreams(): boolean {
    return (
      (this.#isReady || this.#options.asksAtOnce === true) &&
      !this.#isDead &&
      !this.#isDraining &&
      !this.#peerDrains &&
      this.#streams.size < this.#peer.maxStreams &&
      this.#nextId <= MAX_STREAM_ID
    );
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** Drained: nothing is under way and nothing may begin. */
  get isDone(): boolean {
    return this.#isDraining && this.#streams.size === 0 && this.#closing.length === 0;
  }

  // ---- calls --------------------------------------------------------------------------------------------------------

  /** Opens a stream; `undefined` when the peer takes no more. */
  request(fields: readonly string[], ended: boolean, handler: StreamHandler): Stream | undefined {
    if (!this.takesStreams) return undefined;
    const stream = this.#open(this.#nextId, handler);
    this.#nextId += 2;
    stream.headers(fields, ended);
    return stream;
  }

  /** Bytes from the peer, on loan for the time of the call. */
  receive(buffer: Buffer, start: number, end: number): void {
    let at = start;
    if (this.#isServer && this.#prefaceSeen < PREFACE.length) {
      at = this.#readPreface(buffer, start, end);
      if (at < 0) return;
    }
    if (at < end) this.#reader.read(buffer, at, end);
  }

  ping(): void {
    if (this.#isDead) return;
    this.output.head(FrameType.ping, 0, 0, 8);
    this.output.uint32(0);
    this.output.uint32(0);
    this.#wake();
  }

  /** Takes no more streams; those under way go on. */
  drain(): void {
    if (this.#isDead || this.#isDraining) return;
    this.#isDraining = true;
    this.#writeGoaway(ErrorCode.noError, "");
  }

  /** Says that it will drain, and still takes what the peer sends before it has heard of it (RFC 9113 §6.8). */
  announceDrain(): void {
    if (!this.#isDead && !this.#isDraining) this.#writeGoaway(ErrorCode.noError, "", ANY_STREAM);
  }

  /** The transport is gone or we give the peer up: every stream is closed with `code`. Says GOAWAY if `detail` is given. */
  destroy(code: number, detail?: string): void {
    if (this.#isDead) return;
    if (detail !== undefined) this.#writeGoaway(code, detail);
    this.#die(code);
  }

  /** The transport has ended. Answers that are here as a whole are still handed over, however slowly they are read. */
  lost(): void {
    if (this.#isDead) return;
    const whole = this.#isServer
      ? []
      : this.#streams.all().filter((one) => one.endReceived && !one.endDelivered);
    for (const stream of whole) {
      // Nothing more goes out, so our half is over too.
      stream.abandonSending();
      this.#streams.delete(stream);
    }
    this.#die(ErrorCode.internalError);
    for (const stream of whole) this.#streams.add(stream);
  }

  altsvc(stream: Stream, value: string): void {
    if (this.#isDead || stream.isClosed) return;
    this.output.head(FrameType.altsvc, 0, stream.id, 2 + value.length);
    this.output.uint16(0);
    this.output.latin1(value);
    this.#wake();
  }

  /** At the end of a turn: what waited goes to `output`, and closed streams are told. */
  flush(): void {
    this.#isAwake = false;
    this.#resume();
    this.#giveBack();
    this.#pump();
    while (this.#closing.length > 0) {
      const closing = this.#closing;
      this.#closing = [];
      for (const stream of closing) stream.handler.onClosed(stream);
    }
    if (this.output.bytes > MAX_UNREAD_BYTES && !this.#isDead)
      this.fault(ErrorCode.enhanceYourCalm, "the peer does not read its answers");
  }

  // ---- from streams -------------------------------------------------------------------------------------------------

  /** Octets taken on. */
  sendData(stream: Stream, buffer: Buffer, start: number, end: number, ended: boolean): number {
    const room = MAX_GATHERED_BYTES - this.output.bytes;
    const allowed = Math.min(end - start, stream.sendWindow, this.#sendWindow, room);
    if (allowed <= 0 || this.#isDead) return 0;
    stream.sendWindow -= allowed;
    this.#sendWindow -= allowed;
    this.#hasSentData = true;
    const last = start + allowed;
    for (let at = start; at < last; ) {
      const next = Math.min(last, at + this.#sentMaxFrame);
      this.output.head(FrameType.data, ended && next === end ? Flag.endStream : 0, stream.id, next - at);
      this.output.copy(buffer, at, next);
      at = next;
    }
    this.#wakeToWrite();
    return allowed;
  }

  sendEnd(stream: Stream): void {
    if (this.#isDead) return;
    this.#hasSentData = true;
    // Nearly always its content has not left yet: a frame of nothing is spared, to us and to the peer.
    if (!this.output.amend(FrameType.data, Flag.endStream, stream.id))
      this.output.head(FrameType.data, Flag.endStream, stream.id, 0);
    this.#wakeToWrite();
  }

  sendHeaders(stream: Stream, fields: readonly string[], ended: boolean): void {
    if (this.#isDead) return;
    const block = this.#encoder.encode(fields);
    const endFlag = ended ? Flag.endStream : 0;
    let type: number = FrameType.headers;
    let at = 0;
    do {
      const next = Math.min(block.length, at + this.#sentMaxFrame);
      const endHeaders = next === block.length ? Flag.endHeaders : 0;
      this.output.head(type, endHeaders | (type === FrameType.headers ? endFlag : 0), stream.id, next - at);
      this.output.copy(block, at, next);
      type = FrameType.continuation;
      at = next;
    } while (at < block.length);
    this.#wakeToWrite();
  }

  localEnd(stream: Stream): void {
    stream.endSent = true;
    if (stream.endDelivered) this.complete(stream);
  }

  complete(stream: Stream): void {
    this.#close(stream, ErrorCode.noError);
    this.#closing.push(stream);
    this.#wake();
  }

  resetStream(stream: Stream, code: number): void {
    this.#remember(stream.id);
    this.#writeReset(stream.id, code);
    this.#close(stream, code);
    this.#closing.push(stream);
    this.#wake();
  }

  awaitTurn(stream: Stream): void {
    if (stream.isWaiting) return;
    stream.isWaiting = true;
    this.#waiting.push(stream);
    this.#wake();
  }

  awaitResume(stream: Stream): void {
    this.#resuming.push(stream);
    this.#wake();
  }

  /** Content was handed over: the peer may send as much again. */
  credit(stream: Stream, octets: number): void {
    if (octets === 0 || stream.endReceived || stream.isClosed) return;
    stream.taken += octets;
    if (stream.taken < this.#options.streamWindowBytes / 2) return;
    this.output.head(FrameType.windowUpdate, 0, stream.id, 4);
    this.output.uint32(stream.taken);
    stream.receiveWindow += stream.taken;
    stream.taken = 0;
    this.#wake();
  }

  // ---- from the reader ----------------------------------------------------------------------------------------------

  fault(code: number, detail: string): void {
    if (this.#isDead) return;
    this.#writeGoaway(code, detail);
    this.#die(code);
    this.#host.fault({ code, detail });
  }

  dataStart(flags: number, id: number, length: number): void {
    if (!this.#maySpeak(FrameType.data)) return;
    this.#dataLength = length;
    this.#dataContent = 0;
    this.#dataStream = undefined;
    this.#receiveWindow -= length;
    this.#taken += length;
    if (this.#receiveWindow < 0) return this.fault(ErrorCode.flowControlError, "DATA beyond the window");
    if (this.#taken >= this.#options.connectionWindowBytes / 4) this.#wake();
    if (length === 0 && (flags & Flag.endStream) === 0) this.#host.noticed("idle-frame");
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.endReceived) return this.#onLateFrame(stream, id);
    if (!this.#isServer && !stream.headReceived)
      return this.#refuse(stream, ErrorCode.protocolError, "content before the head");
    stream.receiveWindow -= length;
    if (stream.receiveWindow < 0)
      return this.#refuse(stream, ErrorCode.flowControlError, "content beyond the window");
    this.#dataStream = stream;
  }

  data(buffer: Buffer, start: number, end: number): void {
    const stream = this.#dataStream;
    if (stream === undefined || stream.isClosed) return;
    this.#dataContent += end - start;
    stream.receivedBytes += end - start;
    if (stream.expectedBytes >= 0 && stream.receivedBytes > stream.expectedBytes)
      return this.#refuse(stream, ErrorCode.protocolError, "content beyond its length");
    stream.deliver(buffer, start, end);
  }

  dataEnd(flags: number): void {
    const stream = this.#dataStream;
    this.#dataStream = undefined;
    if (stream === undefined || stream.isClosed) return;
    this.credit(stream, this.#dataLength - this.#dataContent);
    if ((flags & Flag.endStream) !== 0) this.#onEnd(stream);
  }

  frame(type: number, flags: number, id: number, buffer: Buffer, start: number, end: number): void {
    if (!this.#maySpeak(type)) return;
    switch (type) {
      case FrameType.headers:
        return this.#onHeaders(flags, id, buffer, start, end);
      case FrameType.continuation:
        return this.#onContinuation(flags, id, buffer, start, end);
      case FrameType.settings:
        return this.#onSettings(flags, id, buffer, start, end);
      case FrameType.windowUpdate:
        return this.#onWindowUpdate(id, buffer, start, end);
      case FrameType.rstStream:
        return this.#onReset(id, buffer, start, end);
      case FrameType.ping:
        return this.#onPing(flags, id, buffer, start, end);
      case FrameType.goaway:
        return this.#onGoaway(id, buffer, start, end);
      case FrameType.altsvc:
        return this.#onAltsvc(id, buffer, start, end);
      case FrameType.priority:
        return this.#onPriority(id, buffer, start, end);
      case FrameType.pushPromise:
        return this.fault(ErrorCode.protocolError, "PUSH_PROMISE, which was not allowed");
      default:
        return this.#host.noticed("idle-frame"); // unknown types are ignored (RFC 9113 §5.5)
    }
  }

  // ---- frames -------------------------------------------------------------------------------------------------------

  /** SETTINGS come first, and nothing comes between the parts of a header block. */
  #maySpeak(type: number): boolean {
    if (this.#isDead) return false;
    if (!this.#isReady && type !== FrameType.settings) {
      this.fault(ErrorCode.protocolError, "SETTINGS have to come first");
      return false;
    }
    if ((type === FrameType.continuation) !== (this.#blockStream !== 0)) {
      this.fault(ErrorCode.protocolError, "a header block that is interrupted, or CONTINUATION of none");
      return false;
    }
    return true;
  }

  #onPriority(id: number, buffer: Buffer, start: number, end: number): void {
    if (id === 0) return this.fault(ErrorCode.protocolError, "PRIORITY of the connection");
    if (end - start !== 5) return this.fault(ErrorCode.frameSizeError, "PRIORITY of a length that cannot be");
    // Of the connection rather than of the stream (RFC 7540 §5.3.1): the stream may be idle, and RST_STREAM of such a one is an offence.
    if (readUint31(buffer, start) === id)
      return this.fault(ErrorCode.protocolError, "a stream that depends on itself");
    this.#host.noticed("idle-frame");
  }

  #onHeaders(flags: number, id: number, buffer: Buffer, start: number, end: number): void {
    let from = start;
    let to = end;
    if ((flags & Flag.padded) !== 0) {
      to -= buffer[from] ?? 0;
      from += 1;
    }
    if ((flags & Flag.priority) !== 0) {
      if (from + 5 > end) return this.fault(ErrorCode.frameSizeError, "HEADERS without their priority");
      if (readUint31(buffer, from) === id)
        return this.fault(ErrorCode.protocolError, "a stream that depends on itself");
      from += 5;
    }
    if (to < from) return this.fault(ErrorCode.protocolError, "HEADERS are shorter than their padding");
    if (id === 0) return this.fault(ErrorCode.protocolError, "HEADERS of the connection");
    if ((flags & Flag.endHeaders) !== 0) return this.#onBlock(flags, id, buffer, from, to);
    this.#blockStream = id;
    this.#blockFlags = flags;
    this.#continuations = 0;
    this.#block = Buffer.from(buffer.subarray(from, to));
  }

  #onContinuation(flags: number, id: number, buffer: Buffer, start: number, end: number): void {
    if (id !== this.#blockStream)
      return this.fault(ErrorCode.protocolError, "CONTINUATION of another stream");
    this.#continuations += 1;
    const block = Buffer.concat([this.#block ?? buffer.subarray(0, 0), buffer.subarray(start, end)]);
    if (this.#continuations > MAX_CONTINUATIONS || block.length > 2 * this.#options.headers.listBytes)
      return this.fault(ErrorCode.enhanceYourCalm, "a header block without end");
    this.#block = block;
    if ((flags & Flag.endHeaders) === 0) return;
    this.#blockStream = 0;
    this.#block = undefined;
    this.#onBlock(this.#blockFlags, id, block, 0, block.length);
  }

  #onBlock(flags: number, id: number, buffer: Buffer, start: number, end: number): void {
    // Whatever becomes of the stream: the table of the connection has to keep up.
    if (!this.#decoder.decode(buffer, start, end))
      return this.fault(ErrorCode.compressionError, "a header block that cannot be decoded");
    const ended = (flags & Flag.endStream) !== 0;
    const stream = this.#streams.get(id);
    if (stream !== undefined) {
      if (stream.endReceived) return this.#onLateFrame(stream, id);
      if (stream.headReceived) return this.#onTrailers(stream, ended);
      return this.#onResponse(stream, ended);
    }
    if (this.#isServer && id % 2 === 1) {
      if (id > this.#lastPeerId) return this.#onRequest(id, ended);
      // Not of a stream that we gave up a moment ago: identifiers only grow (RFC 9113 §5.1.1).
      if (!this.#forgotten.has(id))
        return this.fault(ErrorCode.protocolError, `HEADERS of stream ${id} anew`);
    }
    this.#onLateFrame(undefined, id);
  }

  #onRequest(id: number, ended: boolean): void {
    this.#lastPeerId = id;
    const { block } = this.#decoder;
    const { fields, isIllegal, isTooLarge } = block;
    if (this.#isDraining || this.#streams.size >= this.#options.maxStreams) {
      this.#remember(id);
      this.#writeReset(id, ErrorCode.refusedStream);
      // While we drain, the peer may not have heard of it yet.
      return this.#isDraining ? undefined : this.#host.noticed("stream-error");
    }
    const length = (block.contentLength ??= contentLength(fields));
    const isSound = (block.isRequest ??= malformedRequest(fields) === undefined);
    const isMalformed = !isTooLarge && (!isSound || length === -2 || (ended && length > 0) || isIllegal);
    if (isMalformed) {
      this.#remember(id);
      this.#writeReset(id, ErrorCode.protocolError);
      return this.#host.noticed("stream-error");
    }
    const stream = this.#open(id, NOBODY);
    stream.headReceived = true;
    stream.expectedBytes = length;
    stream.endReceived = ended;
    stream.handler = this.#host.request(stream, fields, ended, isTooLarge);
    if (ended) stream.deliverEnd();
  }

  #onResponse(stream: Stream, ended: boolean): void {
    const { block } = this.#decoder;
    const { fields, isIllegal, isTooLarge } = block;
    if (isTooLarge) return this.#refuse(stream, ErrorCode.protocolError, this.#tooLarge());
    if (isIllegal || !(block.isResponse ??= malformedResponse(fields) === undefined))
      return this.#refuse(stream, ErrorCode.protocolError, "a malformed head");
    const status = fields[1] ?? "";
    const isInterim = status.charCodeAt(0) === 0x31;
    if (isInterim && ended)
      return this.#refuse(stream, ErrorCode.protocolError, "nothing after an interim answer");
    if (!isInterim) {
      const length =
        status === "204" || status === "304" || stream.expectedBytes === NO_CONTENT
          ? -1
          : (block.contentLength ??= contentLength(fields));
      if (length === -2 || (ended && length > 0))
        return this.#refuse(stream, ErrorCode.protocolError, "a length that is none, or not the content's");
      stream.headReceived = true;
      stream.expectedBytes = length;
      stream.endReceived = ended;
    }
    stream.handler.onHeaders(stream, fields, ended);
    if (ended && !stream.isClosed) stream.deliverEnd();
  }

  #onTrailers(stream: Stream, ended: boolean): void {
    const { block } = this.#decoder;
    const { fields, isIllegal, isTooLarge } = block;
    const isSound = (block.isTrailers ??= malformedTrailers(fields) === undefined);
    if (isTooLarge) return this.#refuse(stream, ErrorCode.protocolError, this.#tooLarge());
    if (!ended || isIllegal || !isSound)
      return this.#refuse(stream, ErrorCode.protocolError, "malformed trailers");
    stream.receivedTrailers = fields;
    this.#onEnd(stream);
  }

  #onEnd(stream: Stream): void {
    if (stream.isClosed) return;
    if (stream.expectedBytes >= 0 && stream.receivedBytes !== stream.expectedBytes)
      return this.#refuse(stream, ErrorCode.protocolError, "content short of its length");
    stream.endReceived = true;
    stream.deliverEnd();
  }

  /** DATA or HEADERS for a stream whose peer has ended it, that is over, or that never was. */
  #onLateFrame(stream: Stream | undefined, id: number): void {
    if (stream !== undefined) return this.#refuse(stream, ErrorCode.streamClosed, "frames after the end");
    if (this.#forgotten.has(id)) return;
    const isOwn = (id % 2 === 0) === this.#isServer;
    const isIdle = isOwn ? id >= this.#nextId : id > this.#lastPeerId;
    if (id === 0 || isIdle)
      return this.fault(ErrorCode.protocolError, `a frame of stream ${id}, which is idle`);
    this.#remember(id);
    this.#writeReset(id, ErrorCode.streamClosed);
    this.#host.noticed("stream-error");
  }

  #onSettings(flags: number, id: number, buffer: Buffer, start: number, end: number): void {
    if (id !== 0) return this.fault(ErrorCode.protocolError, "SETTINGS of a stream");
    this.#host.noticed("control");
    if ((flags & Flag.ack) !== 0) {
      if (!this.#isReady) return this.fault(ErrorCode.protocolError, "SETTINGS have to come first");
      if (end > start) this.fault(ErrorCode.frameSizeError, "an acknowledgement with a payload");
      return;
    }
    const before = this.#peer.streamWindowBytes;
    const wrong = applySettings(this.#peer, buffer, start, end);
    if (wrong !== undefined) return this.fault(wrong.code, wrong.detail);
    this.#sentMaxFrame = Math.min(this.#peer.maxFrameBytes, MAX_SENT_FRAME_BYTES);
    this.#encoder.setMaxTableBytes(this.#peer.headerTableBytes);
    const change = this.#peer.streamWindowBytes - before;
    if (change !== 0) for (const stream of this.#streams.all()) this.#widen(stream, change);
    if (this.#isDead) return;
    this.output.head(FrameType.settings, Flag.ack, 0, 0);
    this.#wake();
    if (this.#isReady) return;
    this.#isReady = true;
    this.#host.ready();
  }

  #onWindowUpdate(id: number, buffer: Buffer, start: number, end: number): void {
    if (end - start !== 4)
      return this.fault(ErrorCode.frameSizeError, "WINDOW_UPDATE of a length that cannot be");
    const octets = readUint31(buffer, start);
    if (octets < TINY_UPDATE_BYTES) this.#host.noticed("idle-frame");
    if (id === 0) {
      this.#sendWindow += octets;
      if (octets === 0) return this.fault(ErrorCode.protocolError, "WINDOW_UPDATE of 0");
      if (this.#sendWindow > MAX_WINDOW_BYTES)
        return this.fault(ErrorCode.flowControlError, "a window beyond 2^31-1");
      return this.#waiting.length > 0 ? this.#wake() : undefined;
    }
    const stream = this.#streams.get(id);
    // For a stream that is over it may have been under way (RFC 9113 §5.1).
    if (stream === undefined) return this.#demandKnown(id);
    if (octets === 0) return this.#refuse(stream, ErrorCode.protocolError, "a window update of 0");
    this.#widen(stream, octets);
  }

  #widen(stream: Stream, octets: number): void {
    stream.sendWindow += octets;
    if (stream.sendWindow > MAX_WINDOW_BYTES)
      return this.#refuse(stream, ErrorCode.flowControlError, "a window beyond 2^31-1");
    if (stream.pendingBytes > 0 && stream.sendWindow > 0) this.awaitTurn(stream);
  }

  #onReset(id: number, buffer: Buffer, start: number, end: number): void {
    if (end - start !== 4)
      return this.fault(ErrorCode.frameSizeError, "RST_STREAM of a length that cannot be");
    this.#host.noticed("peer-reset");
    const stream = this.#streams.get(id);
    if (stream === undefined) return this.#demandKnown(id);
    const code = buffer.readUInt32BE(start);
    if (code === ErrorCode.noError && stream.endReceived && !stream.endDelivered) {
      // A complete answer that was not wanted any longer of us (RFC 9113 §8.1): it still has to be read to its end.
      stream.isEnding = true;
      stream.endSent = true;
      return;
    }
    this.#close(stream, code);
    stream.handler.onClosed(stream);
  }

  #onPing(flags: number, id: number, buffer: Buffer, start: number, end: number): void {
    if (id !== 0) return this.fault(ErrorCode.protocolError, "PING of a stream");
    if (end - start !== 8) return this.fault(ErrorCode.frameSizeError, "PING of a length that cannot be");
    if ((flags & Flag.ack) !== 0) return this.#host.pong();
    this.#host.noticed(this.#hasSentData ? "measuring-ping" : "control");
    this.#hasSentData = false;
    if (this.#isDead) return;
    this.output.head(FrameType.ping, Flag.ack, 0, 8);
    this.output.copy(buffer, start, end);
    this.#wake();
  }

  #onGoaway(id: number, buffer: Buffer, start: number, end: number): void {
    if (id !== 0) return this.fault(ErrorCode.protocolError, "GOAWAY of a stream");
    if (end - start < 8) return this.fault(ErrorCode.frameSizeError, "GOAWAY of a length that cannot be");
    const lastId = readUint31(buffer, start);
    const code = buffer.readUInt32BE(start + 4);
    this.#peerDrains = true;
    const refused: Stream[] = [];
    for (const stream of this.#streams.all()) {
      const isOwn = (stream.id % 2 === 0) === this.#isServer;
      if (isOwn && stream.id > lastId) refused.push(stream);
    }
    for (const stream of refused) this.#close(stream, ErrorCode.refusedStream);
    // Before those streams hear of it: they are sent anew at once, which must not be tried here.
    this.#host.goaway(code, buffer.toString("latin1", start + 8, Math.min(end, start + 8 + MAX_GOAWAY_TEXT)));
    for (const stream of refused) stream.handler.onClosed(stream);
  }

  #onAltsvc(id: number, buffer: Buffer, start: number, end: number): void {
    const stream = this.#streams.get(id);
    const isUsable = end - start >= 2 && buffer.readUInt16BE(start) === 0;
    if (stream === undefined || !isUsable) return this.#host.noticed("idle-frame");
    stream.handler.onAltsvc(stream, buffer.toString("latin1", start + 2, end));
  }

  #demandKnown(id: number): void {
    const isOwn = (id % 2 === 0) === this.#isServer;
    const isIdle = id === 0 || (isOwn ? id >= this.#nextId : id > this.#lastPeerId);
    if (isIdle) this.fault(ErrorCode.protocolError, `a frame of stream ${id}, which is idle`);
  }

  // ---- inside -------------------------------------------------------------------------------------------------------

  #greet(): void {
    const { output } = this;
    const { maxStreams, streamWindowBytes, connectionWindowBytes, maxFrameBytes, headers } = this.#options;
    if (!this.#isServer) output.copy(PREFACE, 0, PREFACE.length);
    const said: readonly (readonly [id: number, value: number])[] = [
      [SettingId.enablePush, 0],
      [SettingId.maxConcurrentStreams, maxStreams],
      [SettingId.initialWindowSize, streamWindowBytes],
      [SettingId.maxFrameSize, maxFrameBytes],
      [SettingId.maxHeaderListSize, headers.listBytes],
    ];
    output.head(FrameType.settings, 0, 0, said.length * 6);
    for (const [id, value] of said) {
      output.uint16(id);
      output.uint32(value);
    }
    if (connectionWindowBytes > DEFAULT_WINDOW_BYTES) {
      output.head(FrameType.windowUpdate, 0, 0, 4);
      output.uint32(connectionWindowBytes - DEFAULT_WINDOW_BYTES);
    }
    this.#wake();
  }

  #readPreface(buffer: Buffer, start: number, end: number): number {
    let at = start;
    for (; at < end && this.#prefaceSeen < PREFACE.length; at++) {
      if (buffer[at] !== PREFACE[this.#prefaceSeen]) {
        this.fault(ErrorCode.protocolError, "no HTTP/2 preface");
        return -1;
      }
      this.#prefaceSeen += 1;
    }
    return at;
  }

  #open(id: number, handler: StreamHandler): Stream {
    const { streamWindowBytes } = this.#options;
    const stream = new Stream(id, this, handler, this.#peer.streamWindowBytes, streamWindowBytes);
    this.#streams.add(stream);
    return stream;
  }

  #close(stream: Stream, code: number): void {
    stream.isClosed = true;
    stream.rstCode = code;
    stream.drop();
    this.#streams.delete(stream);
    if (this.#isDraining && this.#streams.size === 0) this.#wake();
  }

  #tooLarge(): string {
    const { fields, listBytes } = this.#options.headers;
    return `more than ${fields} fields or ${listBytes} bytes of them`;
  }

  /** The peer's mistake on one stream. */
  #refuse(stream: Stream, code: number, fault: string): void {
    if (stream.isClosed) return;
    stream.fault = fault;
    this.resetStream(stream, code);
    this.#host.noticed("stream-error");
  }

  #die(code: number): void {
    this.#isDead = true;
    this.#reader.stop();
    for (const stream of this.#streams.all()) {
      this.#close(stream, code === ErrorCode.noError ? ErrorCode.cancel : code);
      this.#closing.push(stream);
    }
    this.#waiting = [];
    this.#wake();
  }

  #remember(id: number): void {
    this.#forgotten.add(id);
    if (this.#forgotten.size <= MAX_REMEMBERED_RESETS) return;
    for (const oldest of this.#forgotten) {
      this.#forgotten.delete(oldest);
      return;
    }
  }

  #writeReset(id: number, code: number): void {
    if (this.#isDead) return;
    this.output.head(FrameType.rstStream, 0, id, 4);
    this.output.uint32(code);
    this.#wake();
  }

  #writeGoaway(code: number, detail: string, lastId = this.#lastPeerId): void {
    const text = detail.slice(0, MAX_GOAWAY_TEXT);
    this.output.head(FrameType.goaway, 0, 0, 8 + text.length);
    this.output.uint32(lastId);
    this.output.uint32(code);
    this.output.latin1(text);
    this.#wake();
  }

  #wakeToWrite(): void {
    if (!this.#host.isWriting) this.#wake();
  }

  #wake(): void {
    if (this.#isAwake) return;
    this.#isAwake = true;
    this.#host.wake();
  }

  #resume(): void {
    if (this.#resuming.length === 0) return;
    const resuming = this.#resuming;
    this.#resuming = [];
    for (const stream of resuming) stream.deliverQueue();
  }

  /** Gives the connection's window back, unless paused streams hold more than they may. */
  #giveBack(): void {
    if (this.#isDead || this.queuedBytes > this.#options.maxQueuedBytes) return;
    if (this.#taken < this.#options.connectionWindowBytes / 4) return;
    this.output.head(FrameType.windowUpdate, 0, 0, 4);
    this.output.uint32(this.#taken);
    this.#receiveWindow += this.#taken;
    this.#taken = 0;
  }

  /** Every waiting stream has its turn; who could not send comes first the next time. */
  #pump(): void {
    while (this.#waiting.length > 0 && this.output.bytes < MAX_GATHERED_BYTES && this.#sendWindow > 0) {
      const waiting = this.#waiting;
      this.#waiting = [];
      const unserved: Stream[] = [];
      const unfinished: Stream[] = [];
      for (const stream of waiting) {
        if (stream.isClosed) continue;
        if (this.output.bytes >= MAX_GATHERED_BYTES || this.#sendWindow <= 0) {
          unserved.push(stream);
          continue;
        }
        stream.pump(TURN_BYTES);
        stream.isWaiting = false;
        if (stream.pendingBytes === 0) stream.drained();
        else if (stream.sendWindow > 0 && !stream.isWaiting) {
          stream.isWaiting = true;
          unfinished.push(stream);
        }
      }
      // Handlers may have put others in line meanwhile.
      this.#waiting = unserved.concat(unfinished, this.#waiting);
    }
  }
}

// A frame of a whole slab: larger ones would hold up other streams' frames.
const MAX_SENT_FRAME_BYTES = 64 * 1024;

/** `expectedBytes` of a stream whose answer has no content whatever its content-length says: a HEAD request's. */
export const NO_CONTENT = -3;

const NOBODY: StreamHandler = {
  onHeaders() {},
  onTrailers() {},
  onData() {},
  onEnd() {},
  onDrain() {},
  onClosed() {},
  onAltsvc() {},
};
