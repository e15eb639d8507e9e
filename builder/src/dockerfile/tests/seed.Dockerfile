# syntax=docker/dockerfile:1
# check=skip=none
ARG BASE=debian:12 TWO="a b"
ARG NONE

# build compiles
FROM --platform=$BUILDPLATFORM ${BASE} AS build
ENV A=1 B="two words" C='$A' D=a\ b E="q\"q"
ENV OLD the rest  of the line
ARG V=${A:-${B:+x}} W
WORKDIR /src/${V#*a}
COPY --link --chmod=0755 --chown=1000:1000 --exclude=*.o . ./
COPY ["a b", "c", "/dest/"]
ADD --checksum=sha256:00 https://example.com/x.tar.gz /tmp/
RUN --mount=type=cache,target=/root/.cache,sharing=locked \
    --mount=type=secret,id=key,env=KEY,required \
    # a comment
    make ${A} && \
    echo "it's $(date)" > '/x y'
RUN <<EOF
#!/usr/bin/env python3
print("x")
EOF
RUN cat <<-"A" 3<<B > /both
	tabs
	A
b $b
B
COPY <<one.txt <<'two.txt' /files/
1 ${A} \${A}
one.txt
2
two.txt

FROM scratch
COPY --from=build /x /x
LABEL "com.example"="a b" x.y=1 \
      z="3"
EXPOSE 80 443/tcp 8000-8010/udp
VOLUME ["/data"]
VOLUME /a /b
USER 1000:1000
STOPSIGNAL SIGTERM
SHELL ["/bin/bash", "-eo", "pipefail", "-c"]
HEALTHCHECK --interval=5m --timeout=3s --start-period=1.5s --retries=3 CMD curl -f http://localhost/ || exit 1
HEALTHCHECK NONE
MAINTAINER Somebody <a@example.com>
ONBUILD RUN --network=none echo ${x%%.*} ${x//a/b}
ENTRYPOINT ["/x", "-v"]
CMD echo hello
