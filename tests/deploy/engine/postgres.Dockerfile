ENV PATH=/usr/lib/postgresql/17/bin:$PATH PGDATA=/var/lib/postgresql/data
RUN install -d -o postgres -m 700 $PGDATA && install -d -o postgres -m 3777 /var/run/postgresql
VOLUME /var/lib/postgresql/data
COPY --chmod=755 entrypoint.sh /usr/local/bin/docker-entrypoint.sh
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
