import { PROBLEMS } from "../../model/problem.ts";
import { ok } from "../../model/result.ts";
import { nearest } from "../../model/wire/nearest.ts";
import { EXIT } from "../exit.ts";
import { fail } from "../failure.ts";
import type { Command, Invocation } from "../invocation.ts";
import { isData, renderData, renderListing } from "../output/format.ts";

const FAMILIES: { readonly [digit: string]: string } = {
  1: "identity",
  2: "permission",
  3: "reaching a service",
  4: "HTTP input",
  5: "the registry",
  6: "this machine and its files",
};

interface Explanation {
  readonly code: string;
  readonly name: string;
  readonly about: string;
  readonly title: string;
  readonly fix: string;
}

const ALL: readonly Explanation[] = Object.entries(PROBLEMS).map(([name, { code, title, fix }]) => ({
  code,
  name,
  about: FAMILIES[code.slice(5, 6)] ?? "",
  title,
  fix,
}));

export const explain: Command = async (invocation) => {
  const { flags } = invocation;
  if (flags.text("from") !== undefined || flags.text("to") !== undefined) {
    const { explainCall } = await import("../explain/command.ts");
    return explainCall(invocation);
  }
  const wanted = invocation.args[0];
  if (wanted === undefined) return listAll(invocation);
  const { terminal, format, paint } = invocation;
  const found = ALL.find(({ code, name }) => code === canonicalCode(wanted) || name === wanted);
  if (found === undefined) return unknownCode(wanted);
  if (isData(format)) {
    terminal.out(renderData(format, { apiVersion: "isthmus.dev/v1alpha1", kind: "Explanation", ...found }));
  } else {
    terminal.out(`${paint("bold", found.code)} ${found.title}`);
    terminal.out(`  about: ${found.about} (${found.name})`);
    terminal.out(`  fix:   ${found.fix}`);
  }
  return ok(EXIT.yes);
};

function listAll({ terminal, format }: Invocation) {
  const columns = [
    { head: "CODE", cell: (item: Explanation) => item.code },
    { head: "NAME", cell: (item: Explanation) => item.name },
    { head: "WHAT IS WRONG", cell: (item: Explanation) => item.title },
    { head: "FIX", cell: (item: Explanation) => item.fix, wide: true as const },
  ];
  terminal.out(
    renderListing(format, { kind: "Explanation", items: ALL, columns, name: (item) => item.code }),
  );
  return ok(EXIT.yes);
}

/** `isth-2001` and `2001` are good enough for a person at 3 a.m. */
function canonicalCode(text: string): string {
  const upper = text.toUpperCase();
  return /^[0-9]{4}$/.test(upper) ? `ISTH-${upper}` : upper;
}

function unknownCode(wanted: string) {
  const close =
    nearest(
      canonicalCode(wanted),
      ALL.map(({ code }) => code),
    ) ?? nearest(wanted, Object.keys(PROBLEMS));
  return fail("not_found", `no code ${wanted} is known`, {
    why: close === undefined ? "codes look like ISTH-2001" : `did you mean ${close}?`,
    fix: "isthmus explain lists all codes",
  });
}
