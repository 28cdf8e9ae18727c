# A static binary in an empty image without shell and package manager, run by an unprivileged user.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /out/bidder ./cmd/bidder \
 && mkdir -p /out/data && chown 10001:10001 /out/data

FROM scratch
COPY --from=build /out/bidder /bidder
COPY --from=build --chown=10001:10001 /out/data /data
USER 10001:10001
VOLUME /data
EXPOSE 8080 8081 8082
# The admin listener is reachable only inside the container, for the health check and for `docker exec`, unless
# REBOUND_ADMIN names another address, such as :8082; it then needs a token in REBOUND_ADMIN_TOKEN.
HEALTHCHECK --interval=10s --timeout=2s --start-period=30s --retries=3 CMD ["/bidder", "health"]
ENTRYPOINT ["/bidder"]
CMD ["serve", "--data", "/data"]
