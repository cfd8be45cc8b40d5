import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { createLogger, type LogFields } from "../../federation/model/log.ts";
import { createOutsideCa, type Pair } from "../../test/fakes/outside-pki.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { until } from "../../test/fakes/until.ts";
import { systemClock } from "../process/clock.ts";
import { type FileSecrets, openFileSecrets } from "./file-secrets.ts";

const tempDir = useTempDirs();
const ca = createOutsideCa("clients");

describe("secrets from files", () => {
  const opened: FileSecrets[] = [];
  afterEach(() => {
    for (const secrets of opened.splice(0)) secrets.stop();
  });

  const open = async (directory: string) => {
    const lines: LogFields[] = [];
    const log = createLogger((line) => lines.push(JSON.parse(line) as LogFields), Date.now);
    const secrets = await openFileSecrets({ directory, clock: systemClock, log });
    opened.push(secrets);
    return { secrets, refused: () => lines.filter(({ event }) => event === "secret_refused"), lines };
  };
  const put = (directory: string, name: string, { certificatePem, privateKeyPem }: Pair): void => {
    mkdirSync(join(directory, name), { recursive: true });
    writeFileSync(join(directory, name, "tls.key"), privateKeyPem);
    writeFileSync(join(directory, name, "tls.crt"), certificatePem);
  };

  it("are read at the start and followed, within two seconds", async () => {
    const directory = tempDir();
    const [one, two] = [ca.issue({ commonName: "one" }), ca.issue({ commonName: "two" })];
    put(directory, "pair", one);
    const { secrets } = await open(directory);
    expect(secrets.get("pair")).toMatchObject(one);
    const before = secrets.get("pair")?.version ?? 0;
    const heard: string[] = [];
    secrets.subscribe((name) => heard.push(name));
    put(directory, "pair", two);
    await until("the new pair", 2_000, () =>
      secrets.get("pair")?.certificatePem === two.certificatePem ? true : undefined,
    );
    expect(secrets.get("pair")?.version).toBeGreaterThan(before);
    expect(heard).toContain("pair");
  });

  it("appear with their directory, and as Kubernetes mounts them: by a link that is replaced", async () => {
    const directory = join(tempDir(), "later");
    const { secrets } = await open(directory);
    const [one, two] = [ca.issue({ commonName: "one" }), ca.issue({ commonName: "two" })];
    put(directory, "..data-1", one);
    mkdirSync(join(directory, "pair"));
    symlinkSync(join(directory, "..data-1"), join(directory, "pair", "..data"));
    for (const file of ["tls.crt", "tls.key"])
      symlinkSync(join("..data", file), join(directory, "pair", file));
    await until("the pair", 2_000, () => secrets.get("pair"));
    put(directory, "..data-2", two);
    symlinkSync(join(directory, "..data-2"), join(directory, "pair", "..next"));
    renameSync(join(directory, "pair", "..next"), join(directory, "pair", "..data"));
    await until("the next pair", 2_000, () =>
      secrets.get("pair")?.certificatePem === two.certificatePem ? true : undefined,
    );
  });

  const DAMAGES: readonly (readonly [string, (at: string) => void])[] = [
    ["a key of another certificate", (at) => writeFileSync(join(at, "tls.key"), ca.issue({}).privateKeyPem)],
    ["half a certificate", (at) => writeFileSync(join(at, "tls.crt"), ca.certificatePem.slice(0, 200))],
    ["a key that is none", (at) => writeFileSync(join(at, "tls.key"), "secret stuff")],
    ["a missing key", (at) => rmSync(join(at, "tls.key"))],
    ["a CA file without certificates", (at) => writeFileSync(join(at, "ca.crt"), "nothing")],
    ["a key as a directory", (at) => (rmSync(join(at, "tls.key")), mkdirSync(join(at, "tls.key")))],
  ];
  it.each(DAMAGES)(
    "%s leaves the last good pair in use, and says so without a word of the key",
    async (_what, damage) => {
      const directory = tempDir();
      const good = ca.issue({ commonName: "good" });
      put(directory, "pair", good);
      const { secrets, refused, lines } = await open(directory);
      damage(join(directory, "pair"));
      await until("the complaint", 2_000, () => refused()[0]);
      expect(refused()[0]).toMatchObject({ code: "ISTH-3408", secret: "pair", lastGoodStays: true });
      expect(secrets.get("pair")).toMatchObject(good);
      expect(JSON.stringify(lines)).not.toMatch(/secret stuff|PRIVATE KEY/);
    },
  );

  it.skipIf(process.getuid?.() === 0)("an unreadable key leaves the last good pair in use", async () => {
    const directory = tempDir();
    const good = ca.issue({ commonName: "good" });
    put(directory, "pair", good);
    const { secrets, refused } = await open(directory);
    chmodSync(join(directory, "pair", "tls.key"), 0);
    writeFileSync(join(directory, "pair", "tls.crt"), ca.issue({}).certificatePem);
    await until("the complaint", 2_000, () => refused()[0]);
    expect(secrets.get("pair")).toMatchObject(good);
  });

  it("names that are no secret's are left alone", async () => {
    const directory = tempDir();
    put(directory, "..data", ca.issue({}));
    put(directory, "UPPER", ca.issue({}));
    writeFileSync(join(directory, "file"), "x");
    const { secrets, lines } = await open(directory);
    expect(secrets.get("..data")).toBeUndefined();
    expect(secrets.get("../pair")).toBeUndefined();
    expect(lines).toEqual([]);
  });
});
