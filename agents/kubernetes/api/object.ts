/** An object as the API server answers it; everything but the metadata is looked at by whoever reads that kind. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: KubeMetadata;
  readonly spec?: unknown;
  readonly status?: unknown;
  readonly [field: string]: unknown;
}

export interface KubeMetadata {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: { readonly [key: string]: string };
  readonly annotations?: { readonly [key: string]: string };
  readonly ownerReferences?: readonly OwnerReference[];
  readonly finalizers?: readonly string[];
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** `undefined` for what no API server sends: without a name there is nothing to keep it under. */
export function asKubeObject(value: unknown): KubeObject | undefined {
  if (!isRecord(value)) return undefined;
  const { metadata } = value;
  if (!isRecord(metadata) || typeof metadata["name"] !== "string") return undefined;
  return value as unknown as KubeObject;
}

export function isRecord(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `shop/cart`; the name alone for what has no namespace. */
export function objectKey({ namespace, name }: Pick<KubeMetadata, "namespace" | "name">): string {
  return namespace === undefined || namespace === "" ? name : `${namespace}/${name}`;
}

/**
 * Whether `a` was written before `b`. Opaque by the letter of the API, a number in every API server; where it is not,
 * nothing is called older, and what came last counts.
 */
export function isOlder(a: string | undefined, b: string | undefined): boolean {
  if (a === undefined || b === undefined || !DIGITS.test(a) || !DIGITS.test(b)) return false;
  return a.length === b.length ? a < b : a.length < b.length;
}

const DIGITS = /^[1-9][0-9]*$/;
