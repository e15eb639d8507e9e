FROM debian AS one
RUN <<EOF
echo "$HOME" # kept
# no comment of ours
EOF
RUN <<-'E O F' cat > /x
	tab
	E O F
RUN 3<<A cat <&3 <<B \
  > /y
a
A
b
B
COPY --chmod=755 <<run.sh <<-"conf.d/x" plain << 'z' /etc/app/
#!/bin/sh
exec "$@" ${ONE:-two}
run.sh
	key = $raw
	conf.d/x
last
z
ADD <<EOF /empty
EOF
RUN echo "<<EOF" '<<EOF' \<\<EOF <<< here $((1<<2))
RUN ["<<EOF"]
ONBUILD COPY <<-T /t
	t
	T
RUN <<EOF
#!/usr/bin/env python3
print("<<EOF")
EOF
