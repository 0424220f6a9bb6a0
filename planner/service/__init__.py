"""The planner over HTTP: `create_app` makes the application, `planner serve` runs it.

A front process (uvicorn) reads requests, guards limits and answers; solver processes do the
numerics, so that no long solve blocks a short one and every time limit can be kept.

front            app (routes), middleware, catalogues, jobs, metrics, run
between the two  solvers (lanes of processes), worker (what runs in one)
solver process   tasks (what can be asked), reading (bodies to questions), fitting
both             limits and settings, problems (refusals), logs
page/            the page, without a build
"""
