#!/bin/sh
# Run once by the database's image, as its superuser: the job gets a user of its own, who owns the database and no more.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$OWNER_PASSWORD" --username "${POSTGRES_USER:-postgres}" --dbname geocorrect <<'SQL'
create role geocorrect login password :'password';
alter database geocorrect owner to geocorrect;
grant create on schema public to geocorrect;
SQL
