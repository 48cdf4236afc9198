"""HTTP: ``routes`` has one file for each heading of /docs, ``middleware`` is everything around a route.

api_keys           who may see and do what
parameters         parameters of a request, read by hand
filter_parameters  those that filter a list
json_body          bodies of POST
list_answer        what GET /recommendations/{user_id} answers
model_headers      which model an answer is from
problems           errors as application/problem+json
asked_people       requests about people whose user_ids have changed their meaning
filters_beside     filters of large catalogs, made beside the event loop
connection_limits  what clients can make a worker hold
product_json       one product of a list as JSON, and lists put together from kept bytes
"""
