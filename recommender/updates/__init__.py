"""Changes of the tables, and how the served model takes them over.

updater           keeps the served model in step with the tables
newest_model      the model with every change that was read, on the thread of the tables
suited_ranking    the ranking that suits what is in the tables
served            the served model, and whether a user_id means another person than in it
model_source      sources of the model: the tables, or a file
change_feed       the users who have changed
followed_ratings  changes of ratings, by time
followed_ids      new rows of a log, by id
reconciliation    compares sums, to find the changes that no time shows
following         the changes that a model has yet to take, in bounded pieces
records           reads what the tables hold of some users
writes            ratings, interactions and deletions that the service stores
database_watch    watches whether the database answers
taste_maps        the taste map of a version, made by a process of its own
people_watch      also watches whom the user_ids mean, and are about to mean
"""

from recommender.updates.model_source import ModelSource, SavedModel, TrainedModel, model_settings
from recommender.updates.records import optional_tables, read_facts, read_records, with_names
from recommender.updates.served import ANNOUNCED, Served
from recommender.updates.suited_ranking import SAID, SUITED, suited
from recommender.updates.taste_maps import TasteMaps, at_lowest_priority, drop_expired_maps, make_map
from recommender.updates.updater import ModelUpdater
from recommender.updates.writes import delete_rating, erase_user, prepare, store_interaction, store_rating

__all__ = [
    "ANNOUNCED",
    "SAID",
    "SUITED",
    "ModelSource",
    "ModelUpdater",
    "SavedModel",
    "Served",
    "TasteMaps",
    "TrainedModel",
    "at_lowest_priority",
    "delete_rating",
    "drop_expired_maps",
    "erase_user",
    "make_map",
    "model_settings",
    "optional_tables",
    "prepare",
    "read_facts",
    "read_records",
    "store_interaction",
    "store_rating",
    "suited",
    "with_names",
]
