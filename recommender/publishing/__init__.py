"""The results of training runs, by version.

batch          the lists of all users, in blocks of bounded memory
versions       the record of each training run
publication    publishes, keeps and rolls back versions
erasures       keeps erased people out of every version
user_list      one user's list
export         a file of everybody's lists for other tools
model_file     the model as a file
version_files  the files of earlier versions
taste_maps     the taste maps of versions, as files
"""

from recommender.publishing._array_file import open_arrays
from recommender.publishing.batch import (
    BLOCK_USERS,
    BatchJob,
    BatchLists,
    as_rows,
    from_cold_start,
    from_popular,
    job_for,
    recommendation_batches,
    write_batch,
)
from recommender.publishing.erasures import erase_from_lists
from recommender.publishing.export import checked_form, export_lists
from recommender.publishing.model_file import open_model, refuse_foreign_file, save_model
from recommender.publishing.publication import (
    Judge,
    drop_left_lists,
    publish_lists,
    refuse_foreign_lists,
    roll_back,
)
from recommender.publishing.taste_maps import SavedMap, drop_maps, map_file, open_map, save_map
from recommender.publishing.user_list import (
    SHOWN,
    as_frame,
    as_text,
    list_of,
    replace_list,
    with_product_details,
)
from recommender.publishing.version_files import drop_files, kept_file, publish_file
from recommender.publishing.versions import (
    EXPIRED,
    LEFT_OUT,
    PEOPLE,
    PUBLISHED,
    Version,
    current_version,
    next_number,
    published_number,
    published_version,
    read_versions,
    was_refused,
)

__all__ = [
    "BLOCK_USERS",
    "EXPIRED",
    "LEFT_OUT",
    "PEOPLE",
    "PUBLISHED",
    "SHOWN",
    "BatchJob",
    "BatchLists",
    "Judge",
    "SavedMap",
    "Version",
    "as_frame",
    "as_rows",
    "as_text",
    "checked_form",
    "current_version",
    "drop_files",
    "drop_left_lists",
    "drop_maps",
    "erase_from_lists",
    "export_lists",
    "from_cold_start",
    "from_popular",
    "job_for",
    "kept_file",
    "list_of",
    "map_file",
    "next_number",
    "open_arrays",
    "open_map",
    "open_model",
    "publish_file",
    "publish_lists",
    "published_number",
    "published_version",
    "read_versions",
    "recommendation_batches",
    "refuse_foreign_file",
    "refuse_foreign_lists",
    "replace_list",
    "roll_back",
    "save_map",
    "save_model",
    "was_refused",
    "with_product_details",
    "write_batch",
]
