"""Everything around a route.

layer         the one layer around the framework
fast_path     answers one GET route ahead of the framework's routing
answer_cache  answers that are ready to be sent
limits        limits on the size of a request, and headers that protect HTML pages
cross_origin  the pages of other origins that may call the service
metrics       the counters behind ``GET /metrics``
request_log   one line of JSON for each request
"""
