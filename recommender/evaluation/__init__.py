"""How good a ranking is, measured on ratings that it has not seen.

split            which ratings are hidden
metrics          nDCG, recall, coverage, RMSE and their intervals
rankers          the rankings as an evaluation asks them
measure          one evaluation
result           what it found
comparison       all rankings of a shop side by side
cold_start       each step of the cold start by itself
tuning           constants chosen on the shop's own ratings
gate             may a new version replace the published one?
gate_statistics  the two tests of the gate
"""
