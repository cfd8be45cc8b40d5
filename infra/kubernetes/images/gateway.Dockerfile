# Build from the repository's root: docker build -f infra/kubernetes/images/gateway.Dockerfile -t isthmus/gateway:0.1.0 .
FROM node:24-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build:image -- gateway /out

# No shell, no package manager, no other program; node runs as nobody in particular.
FROM gcr.io/distroless/nodejs24-debian12:nonroot
COPY --from=build /out /app
USER 65532:65532
ENV MALLOC_ARENA_MAX=1
ENTRYPOINT ["/nodejs/bin/node", "--max-semi-space-size=1", \
  "--no-allocation-site-pretenuring", "--max-inlined-bytecode-size=920", "--max-inlined-bytecode-size-cumulative=2400", \
  "/app/main.mjs"]
