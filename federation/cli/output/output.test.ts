import { describe, expect, it } from "vitest";
import { parseDuration, renderAge, renderDuration } from "./duration.ts";
import { type Listing, renderListing } from "./format.ts";
import { choosePaint, PLAIN } from "./paint.ts";
import { renderTable } from "./table.ts";

interface Fruit {
  readonly name: string;
  readonly weight: number;
}

const listing: Listing<Fruit> = {
  kind: "Fruit",
  items: [
    { name: "apple", weight: 120 },
    { name: "fig", weight: 9 },
  ],
  columns: [
    { head: "NAME", cell: (fruit) => fruit.name },
    { head: "WEIGHT", cell: (fruit) => `${fruit.weight} g`, wide: true },
  ],
  name: (fruit) => `fruit/${fruit.name}`,
};

describe("showing a list", () => {
  it("prints a table, and more columns when it may be wide", () => {
    expect(renderListing("table", listing)).toBe("NAME\napple\nfig");
    expect(renderListing("wide", listing)).toBe("NAME    WEIGHT\napple   120 g\nfig     9 g");
  });

  it("prints names that other commands take", () => {
    expect(renderListing("name", listing)).toBe("fruit/apple\nfruit/fig");
  });

  it("prints JSON and YAML that say what they are", () => {
    expect(JSON.parse(renderListing("json", listing))).toEqual({
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "FruitList",
      items: listing.items,
    });
    expect(renderListing("yaml", { ...listing, items: [] })).toBe(
      "apiVersion: isthmus.dev/v1alpha1\nkind: FruitList\nitems: []",
    );
  });
});

describe("a table", () => {
  it("leaves no blanks at the end of a line and counts no colours as width", () => {
    const red = "\u001b[31mred\u001b[39m";
    expect(
      renderTable(
        ["A", "B"],
        [
          [red, "x"],
          ["long", ""],
        ],
      ),
    ).toBe(`A      B\n${red}    x\nlong`);
  });
});

describe("times for people", () => {
  it.each([
    [0, "0 ms"],
    [999, "999 ms"],
    [61_000, "1 min"],
    [3 * 3_600_000, "3 h"],
    [90 * 86_400_000, "90 d"],
  ])("says %d ms as %s", (ms, text) => {
    expect(renderDuration(ms)).toBe(text);
  });

  it("tells how long ago something was, and admits not to know", () => {
    expect(renderAge("1970-01-01T00:00:00Z", 12_000)).toBe("12 s ago");
    expect(renderAge(undefined, 0)).toBe("-");
    expect(renderAge("yesterday", 0)).toBe("-");
  });

  it.each([
    ["30", 30_000],
    ["500ms", 500],
    ["1.5m", 90_000],
    ["2h", 7_200_000],
  ])("reads %s", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(["", "s", "-1s", "1 s", "1w"])("does not read %j", (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });
});

describe("colours", () => {
  const seen = { flag: undefined, noColor: undefined, term: "xterm", terminal: true };

  it("are used when someone looks", () => {
    expect(choosePaint(seen)("red", "x")).toBe("\u001b[31mx\u001b[39m");
  });

  it.each([
    ["nobody looks", { ...seen, terminal: false }],
    ["NO_COLOR is set", { ...seen, noColor: "1" }],
    ["the terminal is dumb", { ...seen, term: "dumb" }],
    ["--color never is given", { ...seen, flag: "never" }],
  ])("are left out when %s", (_, wishes) => {
    expect(choosePaint(wishes)).toBe(PLAIN);
  });

  it("are used against NO_COLOR when --color always asks for them", () => {
    expect(choosePaint({ ...seen, noColor: "1", terminal: false, flag: "always" })).not.toBe(PLAIN);
  });
});
