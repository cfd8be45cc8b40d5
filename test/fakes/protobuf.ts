/**
 * Reads Protocol Buffers' wire format by itself (encoding guide: varints, 64-bit, length-delimited, 32-bit), so that what we
 * export is not judged by the library that wrote it.
 */
export class Message {
  readonly #fields = new Map<number, (Buffer | bigint)[]>();

  constructor(bytes: Buffer) {
    let at = 0;
    const varint = (): bigint => {
      let value = 0n;
      for (let shift = 0n; ; shift += 7n) {
        const byte = bytes[at++];
        if (byte === undefined || shift > 63n) throw new Error("truncated varint");
        value |= BigInt(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
      }
    };
    const take = (length: number): Buffer => {
      if (at + length > bytes.length) throw new Error("truncated field");
      at += length;
      return bytes.subarray(at - length, at);
    };
    while (at < bytes.length) {
      const tag = varint();
      const type = Number(tag & 7n);
      if (type !== 0 && type !== 1 && type !== 2 && type !== 5) throw new Error(`wire type ${type}`);
      const value =
        type === 0 ? varint() : type === 1 ? take(8) : type === 5 ? take(4) : take(Number(varint()));
      const field = Number(tag >> 3n);
      this.#fields.set(field, [...(this.#fields.get(field) ?? []), value]);
    }
  }

  messages(field: number): Message[] {
    return this.#buffers(field).map((bytes) => new Message(bytes));
  }

  message(field: number): Message | undefined {
    return this.messages(field)[0];
  }

  text(field: number): string | undefined {
    return this.#buffers(field)[0]?.toString("utf8");
  }

  hex(field: number): string {
    return this.#buffers(field)[0]?.toString("hex") ?? "";
  }

  /** A varint. */
  int(field: number): number | undefined {
    const [value] = this.#fields.get(field) ?? [];
    return typeof value === "bigint" ? Number(value) : undefined;
  }

  fixed64(field: number): bigint | undefined {
    return this.#buffers(field)[0]?.readBigInt64LE();
  }

  double(field: number): number | undefined {
    return this.#buffers(field)[0]?.readDoubleLE();
  }

  packedFixed64(field: number): number[] {
    const bytes = Buffer.concat(this.#buffers(field));
    return Array.from({ length: bytes.length / 8 }, (_, index) => Number(bytes.readBigUInt64LE(index * 8)));
  }

  #buffers(field: number): Buffer[] {
    return (this.#fields.get(field) ?? []).filter((value) => Buffer.isBuffer(value));
  }
}
