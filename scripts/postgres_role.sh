#!/bin/sh
# Creates the role and the database of the server in a new Postgres; docker-compose.yml runs it once, in the image's
# /docker-entrypoint-initdb.d. The role is no superuser: it owns its database and nothing else.
set -eu
password=$(cat "${SEMBLANCE_ROLE_PASSWORD_FILE:-/run/secrets/postgres_password}")
# The password goes through standard input: a command line is visible to every process.
psql --set=ON_ERROR_STOP=1 --no-password --quiet --username="${POSTGRES_USER:-postgres}" --dbname=postgres <<SQL
\set password $password
CREATE ROLE semblance LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
CREATE DATABASE semblance OWNER semblance;
REVOKE CONNECT, TEMPORARY ON DATABASE semblance FROM PUBLIC;
SQL
