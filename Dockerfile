# The receiver in a small image: one binary, no shell, an unprivileged user, everything it keeps in /data.
#
#   docker build -t bikhook .
#   docker run -p 8080:8080 -v bikhook-data:/data bikhook
#   docker run --rm -v bikhook-data:/data bikhook auth      what to paste into BIK's portal
#
# A tag moves. To build from what you have tested, name both images by digest (`docker buildx imagetools inspect IMAGE`):
#
#   docker build --build-arg BUILD_IMAGE=rust:1.95-bookworm@sha256:… \
#     --build-arg RUN_IMAGE=gcr.io/distroless/cc-debian12:nonroot@sha256:… -t bikhook .

ARG BUILD_IMAGE=rust:1.95-bookworm
ARG RUN_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
# AWS-LC comes with its crate and is compiled in; a library of the system is never picked up in its place.
ENV AWS_LC_SYS_USE_SYSTEM=0
# So do librdkafka and its OpenSSL: with the make, the bash and the Perl of this image.
ENV OPENSSL_NO_VENDOR=0
RUN cargo build --release --locked --all-features --bin bikhook
# Line tables are three quarters of the file, and only a debugger reads them: what panics is told with its line all the same.
RUN strip --strip-debug target/release/bikhook
# The volume takes the owner of this directory when it is first used.
RUN mkdir /data && chmod 0700 /data

FROM ${RUN_IMAGE}
COPY --from=build /src/target/release/bikhook /usr/local/bin/bikhook
COPY config/container.toml /etc/bikhook/bikhook.toml
COPY --from=build --chown=65532:65532 /data /data

# Paths of the configuration count from the working directory: data/… is in the volume.
WORKDIR /
USER 65532:65532
VOLUME /data
ENV BIKHOOK_CONFIG=/etc/bikhook/bikhook.toml \
    BIKHOOK_HTTP_LISTEN=0.0.0.0:8080 \
    BIKHOOK_ADMIN_LISTEN=0.0.0.0:8081 \
    BIKHOOK_JOURNAL_PATH=/data/journal.db
# 8080: where BIK posts to. 8081: the operator's side; publish it only where you would publish a database.
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
# Longer at first: a start with millions of events reads their keys.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/local/bin/bikhook", "health"]
ENTRYPOINT ["/usr/local/bin/bikhook"]
