-- Until this release, sources were stored as their senders wrote them. The same event sent again now has a namespace in its
-- source, so events that occurred before `until` are compared with the stored ones. No row: this database holds none of those.
-- Some days, because gateways of the release before go on sending plain sources while they are replaced.
CREATE TABLE plain_sources (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    until timestamptz NOT NULL
);
INSERT INTO plain_sources (until) SELECT now() + interval '7 days'
WHERE EXISTS (SELECT FROM oauth_clients) OR EXISTS (SELECT FROM events);
