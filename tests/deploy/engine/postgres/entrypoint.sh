#!/bin/sh
# What the entrypoint of the official image does with the variables that docker-compose.yml sets: as root it reads the
# password, then as postgres it creates the cluster, runs the scripts beside a server that has no TCP port, and serves.
set -eu
if [ "$(id -u)" = 0 ]; then
    chown postgres "$PGDATA"
    PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
    export PGPASSWORD
    exec setpriv --reuid postgres --regid postgres --init-groups sh "$0" "$@"
fi
if [ ! -e "$PGDATA/PG_VERSION" ]; then
    umask 077
    printf '%s' "$PGPASSWORD" >/tmp/password
    initdb --username "$POSTGRES_USER" --pwfile /tmp/password --auth-local trust --auth-host scram-sha-256
    rm /tmp/password
    echo "hostssl all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl --wait --options "-c listen_addresses=''" start
    createdb --username "$POSTGRES_USER" "$POSTGRES_USER"
    for script in /docker-entrypoint-initdb.d/*.sql; do
        psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --file "$script"
    done
    pg_ctl --wait --mode fast stop
fi
unset PGPASSWORD
exec "$@" -c "listen_addresses=*"
