import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The peers' identity: one authority and one P-256 leaf that every hop presents on both sides. */
export interface Certificates {
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
  /** Certificate and key in one file, the way HAProxy wants them. */
  readonly bundle: string;
}

/** The DNS name in the leaf; every hop demands it of the next one. */
export const HOP_NAME = "hop.bench.test";

export function makeCertificates(directory: string): Certificates {
  const path = (name: string): string => join(directory, name);
  const openssl = (...args: string[]): void => {
    execFileSync("openssl", args, { stdio: "pipe" });
  };
  const keyArgs = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256"];
  openssl(
    "req",
    "-x509",
    ...keyArgs,
    "-days",
    "2",
    "-subj",
    "/CN=bench",
    "-keyout",
    path("ca.key"),
    "-out",
    path("ca.crt"),
  );
  openssl("req", ...keyArgs, "-subj", "/CN=hop", "-keyout", path("hop.key"), "-out", path("hop.csr"));
  writeFileSync(path("hop.ext"), `subjectAltName=DNS:${HOP_NAME}\nextendedKeyUsage=serverAuth,clientAuth\n`);
  const signer = ["-CA", path("ca.crt"), "-CAkey", path("ca.key"), "-CAcreateserial"];
  openssl(
    "x509",
    "-req",
    "-in",
    path("hop.csr"),
    ...signer,
    "-days",
    "2",
    "-extfile",
    path("hop.ext"),
    "-out",
    path("hop.crt"),
  );
  writeFileSync(
    path("hop.pem"),
    readFileSync(path("hop.crt"), "utf8") + readFileSync(path("hop.key"), "utf8"),
    {
      mode: 0o600,
    },
  );
  return {
    authority: path("ca.crt"),
    certificate: path("hop.crt"),
    key: path("hop.key"),
    bundle: path("hop.pem"),
  };
}
