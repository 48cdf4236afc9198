"""The parts behind the four scripts, in one flat package.

Pure parts (arrays in, arrays out; no I/O, clock or settings): ``rating_matrix`` turns ratings into a sparse matrix,
``neighbors`` finds the exact nearest users, ``scoring`` ranks the products they liked; ``profiles``, ``taste_index``
and ``taste_ranking`` do it by taste, ``rankings`` puts both behind one face; ``similar_products`` asks the kernel
about products, ``popular`` is the fallback, ``cold_start`` the longer ladder of the taste ranking, on
``decayed_popularity`` and ``new_products``; ``split`` hides ratings, ``metrics``, ``evaluation``, ``mode_evaluation``
and ``ladder_evaluation`` measure them all against those, ``evaluation_result`` holds what was found, ``taste_tuning``
chooses by it; ``tastes`` plants synthetic shoppers. Parts with I/O: ``settings`` reads the environment, ``schema``
names the tables, ``database`` connects, ``tables`` tells which ones are there, ``bulk_load`` and ``bulk_read`` move
rows at the database's own speed, ``usable_rows`` says which of them a model is made from, ``files`` holds the rule for
every path, ``csv_rows``, ``catalog`` and ``ratings_file`` check a CSV row by row, ``origin`` notes beside the tables
what they were made from and ``shopper_tables`` whose rows they hold, ``identities`` whom a user_id means
(``asked_people``: and whether anybody may be answered by it), ``trained_model`` and ``user_segments`` read what a
ranking needs, ``batch`` writes the lists of many users, ``versions`` publishes them, keeps them and rolls back,
``erasures`` keeps erased people out of them, ``engine_commands`` is what step 3 can do besides;
``serving`` holds the model for the HTTP ``routes`` (beside them ``user_routes``, ``batch_routes``,
``basket_routes``, ``write_routes``), ``model_file`` saves it, ``model_source`` tells where it comes from;
``json_body`` reads what is sent to them, ``api_keys`` tells who may send it, ``demo_key`` makes a key for ``make
run``, ``coarse_figures`` what those without one may know of few people; ``neighborhoods`` holds whom a ranking asks
and what they have; ``live`` is that model with every change since
it was built (``live_changes``, ``live_cosine``, ``live_taste``, ``live_popular``, ``live_ranking``, ``live_users``),
which ``live_writes`` stores and ``live_records`` reads back from the tables, of whom a ``change_feed`` names from a
``changes`` cursor on (``followed_ratings`` by time, ``followed_ids`` by number) and a ``reconciliation`` whatever such
looks cannot see, in the pieces of a ``following``, as ``live_service`` has it, beside the ``database_watch``;
``observation`` is the layer around the routes: ``request_limits``, ``request_log``, ``service_metrics``,
``model_headers``, ``cross_origin``, ``answers`` given before, and a ``shortcut`` ahead of the framework to
``list_answers``, for which ``kept_masks`` holds what recent filters leave in and ``list_items`` the JSON of recent
products. ``errors`` holds every exception.
``caps`` and ``walked_lists`` cut lists by category and put them together, ``filters_beside`` makes the masks of a large
catalog on another thread; ``gate`` judges a version by ``gate_statistics``, ``list_sources`` is what its lists are made
of; ``own_tables`` notes which tables are ours; ``following`` asks for changes in pieces (``followed_ratings``,
``followed_ids``, ``reconciliation``), ``deletions_log`` tells who was deleted, ``identities`` whom a user_id means, and
``asked_people`` refuses what names others; ``server_connection`` and ``lock_wait`` bound what a server may ask for and
how long its locks are waited for, ``files`` which paths are read and written, ``connection_limits`` what clients hold,
``exit_status`` how a script ends.
Modules that begin with an underscore are the inner halves of the module named like them. The scripts import the
parts, the parts with I/O import the pure ones, never the other way round (tests/test_architecture.py holds this).
"""
