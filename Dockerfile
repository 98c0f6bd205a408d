FROM rust:1-slim AS build
WORKDIR /build
COPY . .
# Installs the standard library for musl unless it is there; `docker build --platform` needs nothing else.
RUN libc=$(rustc --print target-libdir --target "$(.ci/build-static --target)") \
    && { test -d "$libc" || rustup target add "$(.ci/build-static --target)"; } \
    && .ci/build-static && .ci/third-party-licenses > target/static/THIRD-PARTY-LICENSES

FROM scratch
LABEL org.opencontainers.image.title="resource-server" \
    org.opencontainers.image.description="A minimal HTTP/1.1 resource server on raw hyper that verifies HS256 JSON Web Tokens itself" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0" \
    org.opencontainers.image.version="0.1.0"
COPY LICENSE-* /licenses/
COPY --from=build /build/target/static/THIRD-PARTY-LICENSES /licenses/
COPY --from=build /build/target/static/resource-server /resource-server
ENV API_HOST=0.0.0.0
EXPOSE 5000
USER 65534:65534
# The first check comes after one interval. Only Docker 25 and later have a shorter one for the start
# (--start-interval), so this one is short throughout. The check itself ends within 2 s.
HEALTHCHECK --interval=3s --timeout=3s CMD ["/resource-server", "health"]
ENTRYPOINT ["/resource-server"]
