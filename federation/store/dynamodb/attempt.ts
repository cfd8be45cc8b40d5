import { err, ok } from "../../model/result.ts";
import type { Stored } from "../../registry/store.ts";
import { DamagedDocument } from "./document.ts";
import { TableUnavailable } from "./table.ts";

/** What the table refuses with, and what cannot be read back whole, is a failure of the store; the rest is a fault of ours. */
export async function attempt<T>(run: () => Promise<T>): Stored<T> {
  try {
    return ok(await run());
  } catch (cause) {
    if (cause instanceof TableUnavailable || cause instanceof DamagedDocument)
      return err({ kind: "unavailable", detail: cause.message });
    throw cause;
  }
}
