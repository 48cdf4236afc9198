"""The model with every change since it was trained: "live" means up to date. Records in, a new model out.

live_model    the answers of a model that would be trained now
supposing     the model as it would be with ratings that nobody has given
changes       the users who have changed, and the indexes that answer with them
users         the record of such a user in the tables
columns       the numbering of all products, later ones included
changed_rows  the rows of changed users, in arrays that only grow
index         neighbors among the rows of the matrix and the rows of changed users
cosine        that index by cosine
taste         that index by taste
ranking       ranked products if a neighbor or the user has changed
owners        the products that nobody has any more
popular       the order of popular products as ratings come and go
"""

from recommender.live.cosine import LiveCosine
from recommender.live.live_model import LiveModel
from recommender.live.supposing import with_ratings
from recommender.live.users import LiveUser, UserRecord

__all__ = ["LiveCosine", "LiveModel", "LiveUser", "UserRecord", "with_ratings"]
