"""A trial: a recipe's recommendation tried in miniature, with small runs on this machine.

design    what is trained: shapes, amounts, runs, allocations
ladder    the trial's sizes and the runs that calibrate the laws
arms      the planning question at the trial's scale, and the allocations compared
runs      processes that train them, and resumption
machine   how fast this machine trains
law       the laws fitted to the ladder
verdict   what the measurements say
outcome   everything as one document
study     a whole trial
files     its report
"""
