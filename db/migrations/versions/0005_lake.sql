-- Names this database in the manifests of its lake, so that no other one writes there. Made by the first export.
CREATE TABLE lake_origin (
    alone boolean PRIMARY KEY DEFAULT true CHECK (alone),
    id uuid NOT NULL DEFAULT gen_random_uuid()
);

-- Months that were dropped once they were in the lake. Events that arrive for such a month later are a new layer.
CREATE TABLE lake_drops (
    month date NOT NULL,
    layer integer NOT NULL,  -- the layer that the drop ended, counted from 0
    rows bigint NOT NULL,
    dropped_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (month, layer)
);

-- Exports that were due. The trainers get another message while one is not finished.
CREATE TABLE lake_exports (
    period text PRIMARY KEY,  -- the day the export was due on
    told_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
