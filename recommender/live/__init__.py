"""The model with every change since it was trained: "live" means up to date. Records in, a model out.

live_model    answers as a model would that is trained now
changes       the users who have changed, and what follows from it
users         what the tables hold of such a user
columns       the numbering of all products, those that came later included
changed_rows  the rows of changed users, in arrays that only grow
index         neighbors among rows of the matrix and of changed users
cosine        the same by cosine
taste         the same by taste
ranking       ranked products where somebody has changed
popular       the order of popular products as ratings come and go
"""

from recommender.live.cosine import LiveCosine
from recommender.live.live_model import LiveModel
from recommender.live.users import LiveUser, UserRecord

__all__ = ["LiveCosine", "LiveModel", "LiveUser", "UserRecord"]
