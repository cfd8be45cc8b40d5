import { expect, test } from "vitest";
import { acceptsGzip, entityTag, knownTags, matchingTag, namesMediaType } from "./entity-tag.ts";

const match = (ifNoneMatch: string, revision: number, unpacks: boolean, readsDigest = true) =>
  matchingTag(knownTags(ifNoneMatch), revision, { unpacks, readsDigest });

test("each representation has a tag of its own", () => {
  const tags = [false, true].flatMap((digest) =>
    [false, true].map((packed) => entityTag({ revision: 7, digest, packed })),
  );
  expect(tags).toEqual(['"7"', '"7-gzip"', '"7-digest"', '"7-digest-gzip"']);
  for (const tag of tags) expect(match(tag, 7, true)).toBe(tag);
});

test.each([
  ['"7"', 7, true, '"7"'],
  ['"7"', 7, false, '"7"'],
  ['"7-gzip"', 7, true, '"7-gzip"'],
  // Whoever asks could not use it.
  ['"7-gzip"', 7, false, undefined],
  ['W/"7-gzip"', 7, true, '"7-gzip"'],
  ['"6", "7" , W/"7-gzip"', 7, true, '"7-gzip"'],
  ['"6", "7" , W/"7-gzip"', 7, false, '"7"'],
  ['"6-gzip"', 7, true, undefined],
  ['"7-br"', 7, true, undefined],
  ["7", 7, true, undefined],
  ["*", 7, true, undefined],
  ["", 7, true, undefined],
])("%s against revision %d, unpacking: %s, is %s", (ifNoneMatch, revision, unpacks, expected) => {
  expect(match(ifNoneMatch, revision, unpacks)).toBe(expected);
});

test("is not that of a form which the asker does not read", () => {
  expect(match('"7-digest"', 7, true, false)).toBeUndefined();
  expect(match('"7-digest-gzip", "7"', 7, true, false)).toBe('"7"');
});

test.each([
  ["application/x", true],
  ["application/json, Application/X", true],
  ["*/*", false],
  ["application/*", false],
  ["application/x2", false],
  [undefined, false],
])("Accept: %s names application/x: %s", (header, expected) => {
  expect(namesMediaType(header, "application/x")).toBe(expected);
});

test.each([
  ["gzip", true],
  ["br, GZIP;q=0.5", true],
  ["x-gzip", true],
  ["*", true],
  ["gzip;q=0", false],
  ["gzip; q=0.000, *", false],
  ["identity", false],
  ["br;q=1, *;q=0", false],
  ["gzipped", false],
  ["gzip;q=much", false],
  [undefined, false],
])("Accept-Encoding: %s takes gzip: %s", (header, expected) => {
  expect(acceptsGzip(header)).toBe(expected);
});
