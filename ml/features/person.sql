-- A row for each person who bought something before a moment, from all their events before it.
-- Everything is whole numbers: seconds since 1970, cents, units, counts. No engine's dialect: see person.py.
-- A purchase is what one order has of one item, without what was returned (as ml/returns.py says).
WITH facts AS (
    {facts}
), categories AS (
    {categories}
), paid AS (  -- without joins: no engine has to guess how many rows a step has
    SELECT person, item_id, type, ordered, second, units, cents, max(CASE WHEN type = 'PURCHASE' THEN 1 ELSE 0 END) OVER (
        PARTITION BY person, item_id, ordered
    ) AS of_order
    FROM (
        SELECT person, item_id, type, second, units, cents, CASE
            WHEN order_id IS NOT NULL THEN 'o' || order_id
            WHEN type = 'PURCHASE' THEN 's' || CAST(second AS VARCHAR(20))
        END AS ordered
        FROM facts WHERE type IN ('PURCHASE', 'RETURN')
    ) AS named
), moves AS (  -- a stack of units for each person and item: a purchase puts some on it, a return takes the newest
    SELECT person, item_id, ordered, second, 1 AS up, units, cents, greatest(units - returned, 0) AS delta
    FROM (
        SELECT person, item_id, ordered, min(CASE WHEN type = 'PURCHASE' THEN second END) AS second,
            CAST(sum(CASE WHEN type = 'PURCHASE' THEN units ELSE 0 END) AS BIGINT) AS units,
            CAST(sum(CASE WHEN type = 'PURCHASE' THEN cents ELSE 0 END) AS BIGINT) AS cents,
            CAST(sum(CASE WHEN type = 'RETURN' THEN units ELSE 0 END) AS BIGINT) AS returned
        FROM paid WHERE of_order = 1 GROUP BY person, item_id, ordered
    ) AS lines
    UNION ALL
    SELECT person, item_id, '' AS ordered, second, 0 AS up, units, 0 AS cents, -units AS delta
    FROM paid WHERE of_order = 0
), placed_moves AS (
    SELECT person, item_id, ordered, second, up, units, cents, delta, row_number() OVER (
        PARTITION BY person, item_id ORDER BY second, up DESC, units, cents, ordered
    ) AS place FROM moves
), sums AS (
    SELECT person, item_id, ordered, second, up, units, cents, delta, place, sum(delta) OVER (
        PARTITION BY person, item_id ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS total FROM placed_moves
), levels AS (  -- the height of the stack: a return takes at most what is there
    SELECT person, item_id, ordered, second, up, units, cents, delta, place, total - least(0, min(total) OVER (
        PARTITION BY person, item_id ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )) AS level FROM sums
), lowest_levels AS (
    SELECT person, item_id, ordered, second, up, units, cents, delta, level, min(level) OVER (
        PARTITION BY person, item_id ORDER BY place ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
    ) AS lowest FROM levels
), left_over AS (
    SELECT person, item_id, ordered, second, units, cents,
        CAST(least(greatest(lowest - (level - delta), 0), delta) AS BIGINT) AS kept
    FROM lowest_levels WHERE up = 1
), purchases AS (
    SELECT person, item_id, ordered, second, kept AS units,
        CAST((cents - cents % units) / units AS BIGINT) * kept
            + CAST(((cents % units) * kept - ((cents % units) * kept) % units) / units AS BIGINT) AS cents
    FROM left_over WHERE kept > 0
), bought AS (
    SELECT person, count(*) AS purchases, sum(units) AS units, sum(cents) AS spend_cents, count(DISTINCT item_id) AS items,
        min(second) AS first_second, max(second) AS last_second,
        sum(CASE WHEN second >= {as_of} - 30 * 86400 THEN cents ELSE 0 END) AS spend_cents_30,
        sum(CASE WHEN second >= {as_of} - 90 * 86400 THEN cents ELSE 0 END) AS spend_cents_90,
        sum(CASE WHEN second >= {as_of} - 365 * 86400 THEN cents ELSE 0 END) AS spend_cents_365
    FROM purchases GROUP BY person
), orders AS (
    SELECT person, ordered, min(second) AS second FROM left_over GROUP BY person, ordered HAVING sum(kept) > 0
), spaced AS (
    SELECT person, second, second - lag(second) OVER (PARTITION BY person ORDER BY second, ordered) AS gap,
        row_number() OVER (PARTITION BY person ORDER BY second DESC, ordered DESC) AS back
    FROM orders
), ordering AS (
    SELECT person, count(*) AS orders,
        sum(CASE WHEN second >= {as_of} - 30 * 86400 THEN 1 ELSE 0 END) AS orders_30,
        sum(CASE WHEN second >= {as_of} - 90 * 86400 THEN 1 ELSE 0 END) AS orders_90,
        sum(CASE WHEN second >= {as_of} - 365 * 86400 THEN 1 ELSE 0 END) AS orders_365,
        max(CASE WHEN back = 1 THEN gap END) AS last_gap_seconds,
        min(gap) AS shortest_gap_seconds, max(gap) AS longest_gap_seconds
    FROM spaced GROUP BY person
), in_categories AS (
    SELECT purchases.person, categories.category, count(*) AS purchases
    FROM purchases JOIN categories ON categories.item_id = purchases.item_id
    GROUP BY purchases.person, categories.category
), favourites AS (
    SELECT person, category, row_number() OVER (PARTITION BY person ORDER BY purchases DESC, category) AS place,
        count(*) OVER (PARTITION BY person) AS categories
    FROM in_categories
), returned AS (
    SELECT person, count(*) AS returns, sum(units) AS returned_units FROM paid WHERE type = 'RETURN'
    GROUP BY person
), interest AS (
    SELECT person, type, item_id, micros, second,
        CASE WHEN type IN ('VIEW', 'CLICK', 'ADD_TO_CART') THEN session_id END AS session_id
    FROM facts
    WHERE type IN ('VIEW', 'CLICK', 'ADD_TO_CART', 'LIKE') OR (type = 'RATING' AND (cents = 0 OR cents > 200))
), steps AS (
    SELECT person, type, item_id, micros, second, session_id,
        lag(session_id) OVER (PARTITION BY person ORDER BY micros, type, item_id) AS session_before,
        lag(second) OVER (PARTITION BY person ORDER BY micros, type, item_id) AS second_before
    FROM interest
), starts AS (
    SELECT person, type, item_id, micros, second, CASE
        WHEN second_before IS NULL THEN 1
        WHEN session_id IS NOT NULL AND session_before IS NOT NULL
            THEN CASE WHEN session_id <> session_before THEN 1 ELSE 0 END
        WHEN second - second_before > 1800 THEN 1
        ELSE 0 END AS begins
    FROM steps
), visited AS (
    SELECT person, type, item_id, second, sum(begins) OVER (
        PARTITION BY person ORDER BY micros, type, item_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS visit FROM starts
), latest AS (
    SELECT person, type, item_id, second, visit, CASE
        WHEN visit = max(visit) OVER (PARTITION BY person)
            AND max(second) OVER (PARTITION BY person) >= {as_of} - 1800 THEN 1 ELSE 0
    END AS runs FROM visited
), browsing AS (
    SELECT person, max(visit) AS visits, max(second) AS last_seen,
        sum(CASE WHEN type = 'VIEW' THEN 1 ELSE 0 END) AS views,
        sum(CASE WHEN type = 'CLICK' THEN 1 ELSE 0 END) AS clicks,
        sum(CASE WHEN type = 'ADD_TO_CART' THEN 1 ELSE 0 END) AS carts,
        sum(CASE WHEN type = 'LIKE' THEN 1 ELSE 0 END) AS likes,
        count(DISTINCT item_id) AS items_seen,
        sum(runs) AS visit_events,
        count(DISTINCT CASE WHEN runs = 1 THEN item_id END) AS visit_items,
        count(DISTINCT CASE WHEN runs = 1 AND type = 'ADD_TO_CART' THEN item_id END) AS visit_carts
    FROM latest GROUP BY person
), opinions AS (
    SELECT person, sum(CASE WHEN type = 'RATING' THEN 1 ELSE 0 END) AS ratings,
        sum(CASE WHEN type = 'DISLIKE' OR (type = 'RATING' AND cents > 0 AND cents <= 200) THEN 1 ELSE 0 END) AS dislikes
    FROM facts WHERE type IN ('RATING', 'DISLIKE') GROUP BY person
)
SELECT bought.person,
    CAST(ordering.orders AS BIGINT) AS orders,
    CAST(bought.purchases AS BIGINT) AS purchases,
    CAST(bought.units AS BIGINT) AS units,
    CAST(bought.items AS BIGINT) AS items,
    CAST(bought.spend_cents AS BIGINT) AS spend_cents,
    CAST(bought.first_second AS BIGINT) AS first_order,
    CAST(bought.last_second AS BIGINT) AS last_order,
    CAST({as_of} - bought.last_second AS BIGINT) AS recency_seconds,
    CAST(ordering.orders_30 AS BIGINT) AS orders_30,
    CAST(ordering.orders_90 AS BIGINT) AS orders_90,
    CAST(ordering.orders_365 AS BIGINT) AS orders_365,
    CAST(bought.spend_cents_30 AS BIGINT) AS spend_cents_30,
    CAST(bought.spend_cents_90 AS BIGINT) AS spend_cents_90,
    CAST(bought.spend_cents_365 AS BIGINT) AS spend_cents_365,
    CAST(ordering.last_gap_seconds AS BIGINT) AS last_gap_seconds,
    CAST(ordering.shortest_gap_seconds AS BIGINT) AS shortest_gap_seconds,
    CAST(ordering.longest_gap_seconds AS BIGINT) AS longest_gap_seconds,
    CAST(coalesce(favourites.categories, 0) AS BIGINT) AS categories,
    favourites.category AS favourite_category,
    CAST(coalesce(returned.returns, 0) AS BIGINT) AS returns,
    CAST(coalesce(returned.returned_units, 0) AS BIGINT) AS returned_units,
    CAST(coalesce(browsing.visits, 0) AS BIGINT) AS visits,
    CAST(browsing.last_seen AS BIGINT) AS last_seen,
    CAST(coalesce(browsing.items_seen, 0) AS BIGINT) AS items_seen,
    CAST(coalesce(browsing.views, 0) AS BIGINT) AS views,
    CAST(coalesce(browsing.clicks, 0) AS BIGINT) AS clicks,
    CAST(coalesce(browsing.carts, 0) AS BIGINT) AS carts,
    CAST(coalesce(browsing.likes, 0) AS BIGINT) AS likes,
    CAST(coalesce(opinions.ratings, 0) AS BIGINT) AS ratings,
    CAST(coalesce(opinions.dislikes, 0) AS BIGINT) AS dislikes,
    CAST(coalesce(browsing.visit_events, 0) AS BIGINT) AS visit_events,
    CAST(coalesce(browsing.visit_items, 0) AS BIGINT) AS visit_items,
    CAST(coalesce(browsing.visit_carts, 0) AS BIGINT) AS visit_carts
FROM bought
    JOIN ordering ON ordering.person = bought.person
    LEFT JOIN favourites ON favourites.person = bought.person AND favourites.place = 1
    LEFT JOIN returned ON returned.person = bought.person
    LEFT JOIN browsing ON browsing.person = bought.person
    LEFT JOIN opinions ON opinions.person = bought.person
ORDER BY bought.person
