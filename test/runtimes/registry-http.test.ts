import { readdirSync } from "node:fs";

// Every file of them, so that none can be forgotten; which runtime they ask is the project's to say (vitest.config.ts).
const FOLDER = new URL("../../federation/http/", import.meta.url).pathname;
for (const file of readdirSync(FOLDER)) {
  if (file.endsWith(".test.ts")) await import(`${FOLDER}${file}`);
}
