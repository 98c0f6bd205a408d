FROM rust:1-slim AS build
WORKDIR /build
COPY . .
RUN .ci/build-static

FROM scratch
COPY --from=build /build/target/static/resource-server /resource-server
ENV API_HOST=0.0.0.0
EXPOSE 5000
USER 65534:65534
HEALTHCHECK CMD ["/resource-server", "health"]
ENTRYPOINT ["/resource-server"]
