# The receiver in a small image: one binary, no shell, an unprivileged user, all data in /data.
#
#   docker build -t bikhook .
#   docker run -p 8080:8080 -v bikhook-data:/data bikhook
#   docker run --rm -v bikhook-data:/data bikhook auth      prints what to paste into BIK's portal
#
# A tag can change. For a build that can be repeated, name both images by digest (`docker buildx imagetools inspect IMAGE`):
#
#   docker build --build-arg BUILD_IMAGE=rust:1.95-bookworm@sha256:… \
#     --build-arg RUN_IMAGE=gcr.io/distroless/cc-debian12:nonroot@sha256:… -t bikhook .

ARG BUILD_IMAGE=rust:1.95-bookworm
ARG RUN_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
# Compile AWS-LC from its crate; never use a library of the system instead.
ENV AWS_LC_SYS_USE_SYSTEM=0
# Compile librdkafka and its OpenSSL from source too, with the make, bash and Perl of this image.
ENV OPENSSL_NO_VENDOR=0
# The caches are not part of the image: the next build compiles only what has changed. They need BuildKit, which is the
# default of Docker 23 and newer. The binary is copied out of its cache in the same step. `touch`: sources with an older
# time than those of the last build, such as an older release, must be compiled too.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    touch src/lib.rs src/main.rs \
    && cargo build --release --locked --all-features --bin bikhook \
    && cp target/release/bikhook /bikhook
# A new volume gets the owner of this directory.
RUN mkdir /data && chmod 0700 /data

FROM ${RUN_IMAGE}
COPY --from=build /bikhook /usr/local/bin/bikhook
COPY config/container.toml /etc/bikhook/bikhook.toml
COPY --from=build --chown=65532:65532 /data /data

# Relative paths in the configuration start at the working directory: data/… is in the volume.
WORKDIR /
USER 65532:65532
VOLUME /data
ENV BIKHOOK_CONFIG=/etc/bikhook/bikhook.toml \
    BIKHOOK_HTTP_LISTEN=0.0.0.0:8080 \
    BIKHOOK_ADMIN_LISTEN=0.0.0.0:8081 \
    BIKHOOK_JOURNAL_PATH=/data/journal.db
# 8080: BIK posts here. 8081: the admin side; publish it only where you would publish a database.
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
# The start period is longer, because a start reads the keys of all stored events.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/local/bin/bikhook", "health"]
ENTRYPOINT ["/usr/local/bin/bikhook"]
