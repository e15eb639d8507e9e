//! What BuildKit answers for the same files.

use super::*;
use crate::source::SourceFile;
use crate::test_request::request;

const FILE: &str = "\
# VERSION of the base
ARG VERSION=12
# UNUSED nobody
ARG UNUSED=1
ARG FLAVOUR=${VERSION}-slim
# base the base stage
FROM debian:${VERSION} AS base
# NAME who is greeted
ARG NAME=world
ARG VERSION
ARG TARGETARCH
RUN --mount=type=secret,id=token --mount=type=cache,target=/var/cache --mount=type=ssh true

FROM scratch AS other
ARG IN_OTHER=2

# end what you get
FROM base AS end
ARG NOVALUE
RUN --mount=type=secret,id=token,required=true --mount=type=ssh,id=$NAME,required true
";
