"""Questions around the plan: is it worth it, what would it take, how good is mine, what is near.

Every curve and every range goes through the certified vectorised solver (`planner.optimum`);
nothing here prints. One question is one module with one main function and frozen results.
"""
