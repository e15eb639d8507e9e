# vim:set ft=dockerfile:
FROM debian:bookworm-slim

# a fixed user, so that its files keep their owner
RUN set -eux; \
	groupadd -r app --gid=999; \
# less indentation
	useradd -r -g app --uid=999 --home-dir=/var/lib/app --shell=/bin/bash app

ENV TOOL_VERSION 1.17
RUN set -eux; \
	marked="$(apt-mark showmanual)"; \
	apt-get update; \
	apt-get install -y --no-install-recommends ca-certificates wget; \
	arch="$(dpkg --print-architecture | awk -F- '{ print $NF }')"; \
	[ -z "$marked" ] || apt-mark manual $marked > /dev/null; \
	find /usr/local -type f -exec ldd '{}' ';' \
		| awk '/=>/ { so = $(NF-1); if (index(so, "/usr/local/") == 1) { next }; print so }' \
		| sort -u

ENV PATH $PATH:/usr/lib/app/$APP_MAJOR/bin
VOLUME /var/lib/app/data
COPY entrypoint.sh /usr/local/bin/
ENTRYPOINT ["entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["app"]
