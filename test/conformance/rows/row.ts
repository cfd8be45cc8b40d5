import type { TrafficWorld } from "../../fakes/traffic-world.ts";

/** One line of the table: the fields that it proves, what they do, and the test of it. */
export interface Row {
  readonly fields: readonly string[];
  readonly does: string;
  readonly test: (world: TrafficWorld) => Promise<void>;
}

export function row(fields: string, does: string, test: Row["test"]): Row {
  return { fields: fields.split(" "), does, test };
}

export const V1 = { name: "cart", version: "v1" } as const;
export const V2 = { name: "cart", version: "v2" } as const;

/** How many of so many requests each backend answered. */
export async function shares(
  world: TrafficWorld,
  total: number,
  path = "/",
): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  let left = total;
  const lane = async (): Promise<void> => {
    while (left-- > 0) {
      const { status, headers } = await world.ask(path);
      const name = status === 200 ? String(headers["x-backend"]) : String(status);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: 32 }, lane));
  return counts;
}
