ARG V=1.2.3 R=${V%.*}
ARG I=debian:${R:-12} U
FROM --platform=${BUILDPLATFORM:-linux/amd64} ${I} AS base
ENV A=${V#*.} B=${V##*.} C=${V%.*} D=${V%%.*} E=${V/./-} F=${V//./-} G=${V:+x} H=${V+y} I=${U:?}
ENV N=${A:-${B:-${C:-"d e"}}} O='${A}' P="\${A}" Q=\$A R=$1 S=$@ T=$$ W=${V/\//_}
LABEL "a b"=$A ${A}=b c="$B $C" d=${E}'${F}'"${G}"
EXPOSE $P ${P}/udp 80-${Q:-90}/tcp
VOLUME $A ["x"]
VOLUME ["$A", "b"]
USER ${U:-root}:${G}
STOPSIGNAL ${S:-SIGTERM}
WORKDIR ${A}/../$B
COPY --chown=${U}:$G --chmod=${M:-644} --exclude=$X --link=False $A ${B} $C/
RUN --mount=type=cache,target=${A},id=$B --mount=type=secret,id=s,env=${C} echo ${A} $(date)
HEALTHCHECK --interval=30s CMD $B
