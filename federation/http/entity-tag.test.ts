import { expect, test } from "vitest";
import { acceptsGzip, entityTag, knownTags, matchingTag } from "./entity-tag.ts";

const match = (ifNoneMatch: string, revision: number, unpacks: boolean) =>
  matchingTag(knownTags(ifNoneMatch), revision, unpacks);

test("each representation has a tag of its own", () => {
  expect(entityTag(7, false)).toBe('"7"');
  expect(entityTag(7, true)).toBe('"7-gzip"');
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
