"""The lists of all users, from frames to rows of the table.

stages     the stages, one after the other
whole      the lists of a shop that fits a worker
pieces     rows of users, made of the tables
user_rows  rows of users as they travel between tasks
sums       the sums of the whole shop
rankings   what a ranking does with rows of users
neighbors  the tasks that find the neighbors
scoring    the tasks that rank their products
plan       the sizes of a run
cost       what a batch on Spark costs
layout     who does what
exchange   messages between tasks
"""
