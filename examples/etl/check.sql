-- What the program should find in orders.csv, customers.json and products.db, in SQL only.
-- clean.csv is orders.csv without the bytes that are not UTF-8.
.import --csv orders.csv raw
.import --csv clean.csv clean
ATTACH 'products.db' AS p;
ATTACH 'out.db' AS result;

CREATE TABLE customers AS
SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.name') AS name,
       json_extract(value, '$.country') AS country
FROM json_each(readfile('customers.json'));

-- A row begins one line after the one before it, and a line later for each newline in that.
CREATE TABLE lines AS
SELECT rowid AS row,
       2 + coalesce(sum(1 + length(note) - length(replace(note, char(10), '')))
                    OVER before, 0) AS line
FROM (SELECT rowid, ifnull(note, '') AS note FROM clean)
WINDOW before AS (ORDER BY rowid ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING);

CREATE TABLE typed AS
SELECT raw.rowid AS row, raw.*,
       CASE
           WHEN raw.note IS NOT clean.note THEN 'not UTF-8'
           WHEN raw.order_id = '' OR raw.ordered_on = '' OR raw.customer_id = '' OR raw.sku = ''
                OR raw.quantity = '' OR raw.discount = '' OR raw.note IS NULL THEN 'missing field'
           WHEN raw.quantity GLOB '*[^0-9]*' OR CAST(raw.quantity AS INTEGER) < 1
                OR raw.discount NOT GLOB '[0-9]*.[0-9][0-9]' OR raw.discount GLOB '*[^0-9.]*'
                THEN 'bad number'
           WHEN date(raw.ordered_on, '+0 days') IS NOT raw.ordered_on THEN 'bad date'
       END AS reason
FROM raw JOIN clean ON raw.rowid = clean.rowid;

UPDATE typed SET reason = 'duplicate order'
WHERE reason IS NULL
  AND row NOT IN (SELECT min(row) FROM typed WHERE reason IS NULL GROUP BY order_id);

UPDATE typed SET reason = 'unknown customer'
WHERE reason IS NULL AND customer_id NOT IN (SELECT id FROM customers);

CREATE TABLE sales AS
SELECT o.order_id, o.ordered_on, c.name AS customer, c.country, p.name AS product,
       CAST(o.quantity AS INTEGER) AS quantity,
       o.quantity * p.price_cents - CAST(replace(o.discount, '.', '') AS INTEGER) AS amount_cents,
       o.note
FROM typed AS o JOIN customers AS c ON c.id = o.customer_id JOIN p.products AS p ON p.sku = o.sku
WHERE o.reason IS NULL;

.output expected_counts
SELECT 'accepted', count(*) FROM sales;
SELECT 'rejected', count(*) FROM typed WHERE reason IS NOT NULL;
SELECT reason, count(*) FROM typed WHERE reason IS NOT NULL GROUP BY reason ORDER BY reason;
.output expected_revenue
SELECT country, printf('%,d.%02d', sum(amount_cents) / 100, sum(amount_cents) % 100)
FROM sales GROUP BY country ORDER BY sum(amount_cents) DESC;
.output expected_rejects
SELECT line, reason FROM typed JOIN lines USING (row) WHERE reason IS NOT NULL ORDER BY line;
.output differences
SELECT 'missing', * FROM (SELECT * FROM sales EXCEPT SELECT * FROM result.sales);
SELECT 'too much', * FROM (SELECT * FROM result.sales EXCEPT SELECT * FROM sales);
