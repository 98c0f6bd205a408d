FROM rust:1-slim AS build
WORKDIR /build
COPY . .
RUN .ci/build-static

FROM scratch
COPY --from=build /build/target/static/resource-server /resource-server
ENV API_HOST=0.0.0.0
EXPOSE 5000
USER 65534:65534
# The first check comes after one interval, 30 s if none is named. A start period with an interval of its own
# would be the gentler way, but only Docker 25 and later know that. The check itself ends within 2 s.
HEALTHCHECK --interval=3s --timeout=3s CMD ["/resource-server", "health"]
ENTRYPOINT ["/resource-server"]
