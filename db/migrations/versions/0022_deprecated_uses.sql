-- How often a client used a deprecated part of the GraphQL schema on a day. It names no person.
CREATE TABLE deprecated_uses (
    client_id text NOT NULL,
    part text NOT NULL CHECK (length(part) BETWEEN 1 AND 200),  -- a schema coordinate, such as Item.imageUrl
    day date NOT NULL,
    operations bigint NOT NULL,
    last_used_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client_id, part, day)
);
CREATE INDEX deprecated_uses_days ON deprecated_uses (day);
