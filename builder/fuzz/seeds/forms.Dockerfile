from scratch as X
env a b c
ENV a=b c='d e' f="g h" i=j\ k l= "m"=n o==p
LABEL a b
label k="v \
  w" x=y
arg A B=c D="e f"
maintainer A B <a@b.c>
cmd ["a", "b"]
CMD ["a" "b"]
CMD ['a', 'b']
ENTRYPOINT [ "x" ]
ENTRYPOINT x $y "z"
SHELL ["a"]
RUN ["true"]
VOLUME ["/a b", "/c"]
VOLUME /a /b
COPY ["a", "b"]
ADD --keep-git-dir=true --checksum=sha256:0 --unpack https://a/b.git#c:d /e
HEALTHCHECK NONE
HEALTHCHECK --interval=1m30s --timeout=.5s --retries=3 --start-period=1h CMD ["a"]
ONBUILD RUN a
ONBUILD HEALTHCHECK NONE
RUN --network=none --security=insecure --device=a.b/c=d,required true
COPY --from=0 --parents -- --a /b
FROM X
STOPSIGNAL 9
