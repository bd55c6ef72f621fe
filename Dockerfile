# Builds the binary, and an image that runs it as uid 1000. Name the images by digest to build from exactly these:
# --build-arg RUST=rust:1.95-bookworm@sha256:… --build-arg DEBIAN=debian:bookworm-slim@sha256:…
ARG RUST=rust:1.95-bookworm
ARG DEBIAN=debian:bookworm-slim

FROM ${RUST} AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY src src
COPY benches benches
COPY tests tests
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin sherd && cp target/release/sherd /usr/local/bin/sherd

FROM ${DEBIAN}
RUN groupadd --gid 1000 sherd \
    && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /data --shell /usr/sbin/nologin sherd \
    && install -d -o sherd -g sherd -m 0755 /data
COPY --from=build /usr/local/bin/sherd /usr/local/bin/sherd
# The authorities that the system trusts: for ACME servers, webhooks and identity providers.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --chmod=0755 docker-entrypoint.sh /usr/local/bin/docker-entrypoint.sh

ENV SHERD_DATA=/data/store \
    SHERD_S3_LISTEN=0.0.0.0:9000 \
    SHERD_ADMIN_LISTEN=0.0.0.0:9001
# By number, so that Kubernetes' runAsNonRoot can tell. Started as root (--user 0), the entry point becomes the owner of what
# is mounted: for a first start.
USER 1000:1000
EXPOSE 9000 9001 9100/udp
VOLUME /data
STOPSIGNAL SIGTERM
# It sees the variables that the store is started with, not its flags.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["sherd", "health"]
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["sherd"]
