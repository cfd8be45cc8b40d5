import type { Stored } from "../../registry/store.ts";
import type { Vault } from "../../registry/vault.ts";
import { attempt } from "./attempt.ts";
import { VAULT } from "./keys.ts";
import { keyOf, type Table } from "./table.ts";

/** Keys beside the facts; what is written here was sealed by whoever writes it. */
export class DynamoDbVault implements Vault {
  readonly #table: Table;

  constructor(table: Table) {
    this.#table = table;
  }

  read(name: string): Stored<string | undefined> {
    return attempt(async () => (await this.#table.get({ pk: VAULT, sk: name }))?.["value"]?.S);
  }

  create(name: string, text: string): Stored<string> {
    return attempt(async () => {
      const row = { ...keyOf({ pk: VAULT, sk: name }), value: { S: text } };
      if (await this.#table.put(row, { expression: "attribute_not_exists(pk)" })) return text;
      const existing = await this.#table.get({ pk: VAULT, sk: name });
      return existing?.["value"]?.S ?? text;
    });
  }

  remove(name: string): Stored<void> {
    return attempt(() => this.#table.delete({ pk: VAULT, sk: name }));
  }
}
