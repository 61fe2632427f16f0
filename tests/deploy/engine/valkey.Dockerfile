VOLUME /data
WORKDIR /data
