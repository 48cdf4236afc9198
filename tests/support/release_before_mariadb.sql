-- The tables of the release before, as SHOW CREATE TABLE writes them on MariaDB.
CREATE TABLE `amazon_categories` (
  `id` int(11) NOT NULL,
  `category_name` varchar(255) NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE `amazon_products` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `asin` char(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `title` text DEFAULT NULL,
  `imgUrl` varchar(1000) DEFAULT NULL,
  `productURL` varchar(1000) DEFAULT NULL,
  `stars` double NOT NULL,
  `reviews` int(11) NOT NULL,
  `price` double NOT NULL,
  `listPrice` double NOT NULL,
  `category_id` int(11) NOT NULL,
  `isBestSeller` tinyint(1) NOT NULL,
  `boughtInLastMonth` int(11) NOT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_amazon_products_asin` (`asin`),
  KEY `ix_amazon_products_category_id` (`category_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE `catalog_origin` (
  `name` varchar(64) NOT NULL,
  `value` text NOT NULL,
  PRIMARY KEY (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE `data_origin` (
  `name` varchar(64) NOT NULL,
  `value` text NOT NULL,
  PRIMARY KEY (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE `live_deletions` (
  `deletion_id` bigint(20) NOT NULL AUTO_INCREMENT,
  `user_id` bigint(20) NOT NULL,
  `deleted_at` datetime(6) NOT NULL,
  `erased` tinyint(1) DEFAULT NULL,
  PRIMARY KEY (`deletion_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE `model_versions` (
  `version` int(11) NOT NULL,
  `state` varchar(16) NOT NULL,
  `made_at` datetime(6) NOT NULL,
  `fingerprint` varchar(64) NOT NULL,
  `n_ratings` bigint(20) NOT NULL,
  `n_rows` bigint(20) NOT NULL,
  `settings` text NOT NULL,
  `metrics` text DEFAULT NULL,
  PRIMARY KEY (`version`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE `product_ratings` (
  `user_id` bigint(20) NOT NULL,
  `product_id` char(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `rating` decimal(2,1) NOT NULL,
  `created_at` datetime(6) DEFAULT NULL,
  `updated_at` datetime(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
  PRIMARY KEY (`user_id`,`product_id`),
  KEY `ix_product_ratings_product_id` (`product_id`),
  KEY `ix_product_ratings_updated_at` (`updated_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE `recommendations` (
  `user_id` bigint(20) NOT NULL,
  `rank` int(11) NOT NULL,
  `product_id` char(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `product_name` text DEFAULT NULL,
  `predicted_rating` double NOT NULL,
  `source` varchar(16) NOT NULL,
  `support` double DEFAULT NULL,
  `n_neighbors` int(11) DEFAULT NULL,
  `generated_at` datetime(6) NOT NULL,
  PRIMARY KEY (`user_id`,`rank`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE `recommender_tables` (
  `table_name` varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  `purpose` varchar(16) NOT NULL,
  `made_for` varchar(64) NOT NULL,
  `version` int(11) DEFAULT NULL,
  `made_at` datetime(6) NOT NULL,
  PRIMARY KEY (`table_name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE `user_id_map` (
  `user_id` bigint(20) NOT NULL,
  `external_id` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  PRIMARY KEY (`user_id`),
  UNIQUE KEY `uq_user_id_map_external_id` (`external_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE `user_interactions` (
  `interaction_id` bigint(20) NOT NULL AUTO_INCREMENT,
  `user_id` bigint(20) NOT NULL,
  `product_id` char(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `interaction_type` enum('view','click','add_to_cart','purchase') CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
  `created_at` datetime(6) NOT NULL,
  PRIMARY KEY (`interaction_id`),
  KEY `ix_user_interactions_user_id` (`user_id`),
  KEY `ix_user_interactions_created_at` (`created_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE `users` (
  `user_id` bigint(20) NOT NULL,
  `name` varchar(255) DEFAULT NULL,
  `email` varchar(255) DEFAULT NULL,
  `age_group` varchar(16) DEFAULT NULL,
  `gender` varchar(16) DEFAULT NULL,
  `country` varchar(64) DEFAULT NULL,
  `created_at` datetime(6) DEFAULT NULL,
  PRIMARY KEY (`user_id`),
  UNIQUE KEY `uq_users_email` (`email`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
