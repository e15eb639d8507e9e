ARG GO=1.24
ARG ALPINE=3.22

FROM --platform=$BUILDPLATFORM golang:${GO}-alpine${ALPINE} AS base
WORKDIR /src
ENV CGO_ENABLED=0

FROM base AS deps
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=bind,source=vendor,target=vendor,rw \
    go mod download -x

FROM deps AS build
ARG TARGETOS TARGETARCH TARGETVARIANT
ARG VERSION="dev"
RUN --mount=type=bind,target=. --mount=type=cache,target=/root/.cache,id=go-$TARGETARCH,sharing=locked \
    GOARM=${TARGETVARIANT#v} GOOS=$TARGETOS GOARCH=$TARGETARCH go build -ldflags "-X main.v=${VERSION}" -o /out/ ./...

FROM scratch AS bin
COPY --link --from=build /out/ /

FROM alpine:${ALPINE}
COPY --from=bin --chown=65534:65534 / /usr/local/bin/
USER nobody
