# Build from the repository's root: docker build -f infra/kubernetes/images/agent.Dockerfile -t isthmus/agent:0.1.0 .
FROM node:24-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build:image -- agent /out

# It runs nft, which distroless images do not have.
FROM node:24-bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends nftables && rm -rf /var/lib/apt/lists/* \
  && rm -f /bin/sh /bin/bash /bin/dash /usr/bin/apt* /usr/bin/dpkg*
COPY --from=build /out /app
ENV MALLOC_ARENA_MAX=1
ENTRYPOINT ["node", "--max-semi-space-size=1", \
  "--no-allocation-site-pretenuring", "--max-inlined-bytecode-size=920", "--max-inlined-bytecode-size-cumulative=2400", \
  "/app/main.mjs"]
