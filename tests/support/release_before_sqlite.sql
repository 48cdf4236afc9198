-- The tables of the release before, as it made them on SQLite.
CREATE TABLE "amazon_categories" (
    id INTEGER NOT NULL,
    category_name VARCHAR(255) NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE "amazon_products" (
    id INTEGER NOT NULL,
    asin VARCHAR(10) NOT NULL,
    title TEXT,
    "imgUrl" VARCHAR(1000),
    "productURL" VARCHAR(1000),
    stars DOUBLE NOT NULL,
    reviews INTEGER NOT NULL,
    price DOUBLE NOT NULL,
    "listPrice" DOUBLE NOT NULL,
    category_id INTEGER NOT NULL,
    "isBestSeller" BOOLEAN NOT NULL,
    "boughtInLastMonth" INTEGER NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE "catalog_origin" (
    name VARCHAR(64) NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name)
);
CREATE UNIQUE INDEX uq_amazon_products_asin ON "amazon_products" (asin);
CREATE INDEX ix_amazon_products_category_id ON "amazon_products" (category_id);
CREATE TABLE "users" (
    user_id INTEGER NOT NULL,
    name VARCHAR(255),
    email VARCHAR(255),
    age_group VARCHAR(16),
    gender VARCHAR(16),
    country VARCHAR(64),
    created_at DATETIME,
    PRIMARY KEY (user_id)
);
CREATE TABLE "user_id_map" (
    user_id INTEGER NOT NULL,
    external_id VARCHAR(255) NOT NULL,
    PRIMARY KEY (user_id)
);
CREATE TABLE "user_interactions" (
    interaction_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    user_id BIGINT NOT NULL,
    product_id VARCHAR(10) NOT NULL,
    interaction_type VARCHAR(11) NOT NULL,
    created_at DATETIME NOT NULL
);
CREATE TABLE "product_ratings" (
    user_id BIGINT NOT NULL,
    product_id VARCHAR(10) NOT NULL,
    rating NUMERIC(2, 1) NOT NULL,
    created_at DATETIME,
    updated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL,
    PRIMARY KEY (user_id, product_id)
);
CREATE TABLE "data_origin" (
    name VARCHAR(64) NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name)
);
CREATE INDEX ix_user_interactions_created_at ON "user_interactions" (created_at);
CREATE INDEX ix_user_interactions_user_id ON "user_interactions" (user_id);
CREATE INDEX ix_product_ratings_product_id ON "product_ratings" (product_id);
CREATE INDEX ix_product_ratings_updated_at ON "product_ratings" (updated_at);
CREATE UNIQUE INDEX uq_user_id_map_external_id ON "user_id_map" (external_id);
CREATE UNIQUE INDEX uq_users_email ON "users" (email);
CREATE TABLE recommender_tables (
    table_name VARCHAR(64) NOT NULL,
    purpose VARCHAR(16) NOT NULL,
    made_for VARCHAR(64) NOT NULL,
    version INTEGER,
    made_at DATETIME NOT NULL,
    PRIMARY KEY (table_name)
);
CREATE TABLE "recommendations" (
    user_id BIGINT NOT NULL,
    "rank" INTEGER NOT NULL,
    product_id VARCHAR(10) NOT NULL,
    product_name TEXT,
    predicted_rating DOUBLE NOT NULL,
    source VARCHAR(16) NOT NULL,
    support DOUBLE,
    n_neighbors INTEGER,
    generated_at DATETIME NOT NULL,
    PRIMARY KEY (user_id, "rank")
);
CREATE TABLE "model_versions" (
    version INTEGER NOT NULL,
    state VARCHAR(16) NOT NULL,
    made_at DATETIME NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    n_ratings BIGINT NOT NULL,
    n_rows BIGINT NOT NULL,
    settings TEXT NOT NULL,
    metrics TEXT,
    PRIMARY KEY (version)
);
CREATE TABLE live_deletions (
    deletion_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    user_id BIGINT NOT NULL,
    deleted_at DATETIME NOT NULL,
    erased BOOLEAN
);
