# docker build -t semblance .

FROM rust:1.95-bookworm AS build

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src

# The runtime and the models first: this layer outlives changes of the source.
COPY Cargo.toml ./
COPY scripts ./scripts
RUN python3 scripts/setup.py

COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin semblance \
    && install -D target/release/semblance /opt/semblance/bin/semblance \
    && cp -R models LICENSE /opt/semblance/


FROM debian:bookworm-slim

RUN groupadd --gid 10001 semblance \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin semblance \
    && install --directory --owner=semblance --group=semblance --mode=0700 /data

# Owned by root: the server reads its program and models and can change neither.
COPY --from=build --chown=root:root /opt/semblance /opt/semblance

ENV PATH=/opt/semblance/bin:$PATH \
    SEMBLANCE_LISTEN=0.0.0.0:8080 \
    SEMBLANCE_DATA=/data \
    SEMBLANCE_MODELS=/opt/semblance/models

USER 10001:10001
VOLUME /data
EXPOSE 8080

HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/opt/semblance/bin/semblance", "healthcheck"]

ENTRYPOINT ["/opt/semblance/bin/semblance"]
CMD ["serve"]
