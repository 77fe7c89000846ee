#!/bin/sh
# At the first start of a new PostgreSQL: the database and its three roles. The owner makes the
# tables and gives the others their rights (`broadcaster ledger apply`). POSTGRES_USER is the
# server's administrator; SECRETS the folder of the passwords.
set -eu
secrets=${SECRETS:-/run/secrets}

# The passwords go in by standard input, where no list of processes shows them.
psql --username "$POSTGRES_USER" --dbname postgres --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<SQL
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
CREATE ROLE broadcaster_owner LOGIN PASSWORD '$(cat "$secrets/owner_password")';
CREATE ROLE broadcaster_desk LOGIN PASSWORD '$(cat "$secrets/desk_password")';
CREATE ROLE broadcaster_worker LOGIN PASSWORD '$(cat "$secrets/worker_password")';
CREATE DATABASE broadcaster OWNER broadcaster_owner;
REVOKE ALL ON DATABASE broadcaster FROM PUBLIC;
GRANT CONNECT ON DATABASE broadcaster TO broadcaster_desk, broadcaster_worker;
SQL
