# TweetDock on any Raspberry Pi, and on a PC, where its needles are simulated; docs/pi.md says how.
ARG BASE=debian:bookworm-slim
ARG VERSION=0.1.0


# --- pigpiod: Debian has its source but not the program ---
FROM ${BASE} AS pigpiod
RUN sed -i 's/^Types: deb$/Types: deb deb-src/' /etc/apt/sources.list.d/debian.sources \
    && apt-get update -q \
    && apt-get install -qy --no-install-recommends dpkg-dev gcc libc6-dev make
WORKDIR /src
RUN apt-get source -q pigpio \
    && make -C pigpio-1.78 pigpiod \
    && cd pigpio-1.78 \
    && install -Ds -t /staging/usr/local/bin pigpiod \
    && install -Ds -m 644 -t /staging/usr/local/lib libpigpio.so.1 \
    && install -D -m 644 -t /staging/usr/local/share/doc/pigpio UNLICENCE


# --- What TweetDock needs: a layer that a change of its own code leaves alone ---
FROM ${BASE} AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all:
RUN apt-get update -q \
    && apt-get install -qy --no-install-recommends python3-venv \
    && python3 -m venv /opt/pip \
    && python3 -m venv --without-pip /opt/tweetdock
# Extras of pyproject.toml beside pi5, by comma: s3,pdf.
ARG EXTRAS=
WORKDIR /src
COPY pyproject.toml ./
# lgpio has no wheel for the Pis before the Pi 2, which have no need of it. Taken away again is what
# asks for room and is never used: setuptools by colorzero, under gpiozero; time zones, which Debian
# has; and what rich would show source code and Markdown with.
RUN case $(dpkg --print-architecture) in armel) extras=$EXTRAS ;; *) extras=pi5,$EXTRAS ;; esac \
    && python3 -c 'import sys, tomllib; project = tomllib.load(sys.stdin.buffer)["project"]; \
extras = filter(None, sys.argv[1].split(",")); print(*project["dependencies"], \
*(line for extra in extras for line in project["optional-dependencies"][extra]), sep="\n")' \
        "$extras" < pyproject.toml > requirements.txt \
    && /opt/pip/bin/pip --python /opt/tweetdock/bin/python install -q --no-compile -r requirements.txt \
    && /opt/pip/bin/pip --python /opt/tweetdock/bin/python uninstall -qy \
        setuptools tzdata pygments markdown-it-py mdurl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/tweetdock/lib


# --- TweetDock itself, by its wheel ---
FROM dependencies AS package
COPY LICENSE README.md ./
COPY tweetdock tweetdock
ARG VERSION
RUN /opt/pip/bin/pip wheel -q --no-deps -w /wheels . \
    && { [ -e "/wheels/tweetdock-$VERSION-py3-none-any.whl" ] \
        || { echo "This source is not of version $VERSION: $(ls /wheels)" >&2; exit 1; }; } \
    && /opt/pip/bin/pip --python /opt/tweetdock/bin/python install -q --no-compile --no-deps \
        --root /staging /wheels/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash -s /staging -p / /staging


FROM ${BASE}
# ca-certificates for Bluesky's wss; tini passes signals on and buries the dead.
RUN apt-get update -q \
    && apt-get install -qy --no-install-recommends ca-certificates python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/*.log /var/cache/debconf/*-old \
        /usr/lib/python3.11/pydoc_data /usr/lib/python3.11/test
COPY --from=pigpiod /staging/ /
RUN ldconfig && rm -f /var/cache/ldconfig/aux-cache
COPY --from=dependencies /opt/tweetdock/ /opt/tweetdock/
COPY --from=package /staging/ /
COPY deploy/healthcheck /usr/local/bin/

# lgpio makes a pipe in its working folder, which may be a read-only one.
ENV PATH=/opt/tweetdock/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LG_WD=/tmp \
    TWEETDOCK_STATE_DIR=/var/lib/tweetdock \
    TWEETDOCK_WEB=0.0.0.0:8080
WORKDIR /var/lib/tweetdock
VOLUME /var/lib/tweetdock
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["healthcheck"]
ENTRYPOINT ["tini", "-g", "--", "tweetdock"]

ARG VERSION
ARG REVISION=unknown
LABEL org.opencontainers.image.title="TweetDock" \
      org.opencontainers.image.description="A hashtag's pulse on two physical dials" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
