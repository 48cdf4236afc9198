"""The HTTP service: ``routes`` by the headings of /docs, ``pages`` for a browser, ``middleware`` around each route.

api_keys           who may see and do what
parameters         reads the parameters of a request
filter_parameters  reads the parameters that filter a list
json_body          reads the body of a POST request
list_answer        the answer of GET /recommendations/{user_id}
model_headers      headers that name the model of an answer
problems           errors as application/problem+json
asked_people       requests by user_id after the user_ids have changed their meaning
slashes            tells the slashes of an id in a path from those of the path
beside             makes slow answers on another thread
connection_limits  limits of connections and of bytes that a worker holds
session            signed cookies in the place of a key, for the pages alone
faults             what is wrong now, in words
state              the state that the routes share
openapi            parts of the OpenAPI document, and routes under several paths
shop_document      the OpenAPI document in the scale and with the ids of the shop
product_json       one product of a list as JSON, and lists made from cached bytes
"""

from recommender.service.api_keys import ApiKeys, document_for_all
from recommender.service.connection_limits import ConnectionLimits
from recommender.service.list_answer import answer_at_once
from recommender.service.middleware.cross_origin import for_origins
from recommender.service.middleware.fast_path import FastPath
from recommender.service.middleware.layer import ServiceLayer
from recommender.service.pages import PAGES, answer_browsers
from recommender.service.parameters import LARGEST_LIMIT
from recommender.service.problems import add_problem_handlers
from recommender.service.routes import PAGE, ROUTERS
from recommender.service.session import Sessions
from recommender.service.shop_document import document_for_scale, document_texts
from recommender.service.state import ServiceState

__all__ = [
    "LARGEST_LIMIT",
    "PAGE",
    "PAGES",
    "ROUTERS",
    "ApiKeys",
    "ConnectionLimits",
    "FastPath",
    "ServiceLayer",
    "ServiceState",
    "Sessions",
    "add_problem_handlers",
    "answer_at_once",
    "answer_browsers",
    "document_for_all",
    "document_for_scale",
    "document_texts",
    "for_origins",
]
